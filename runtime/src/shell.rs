//! What lives in a shell: a cell, and one message after the other through [`crate::turn`]. The actor around it is one
//! for all kinds of flow.

use std::any::Any;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;

use crate::engine::{Engine, Fault, Reply};
use crate::flow::Flow;
use crate::router::{Freed, Held};
use crate::turn::{Cell, Envelope, turn};

/// One message in a shell's mailbox. What it carries is known to the body alone.
pub struct Message {
    pub(crate) what: Box<dyn Any + Send>,
    pub(crate) held: Option<Held>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Message")
    }
}

/// What a shell does with its messages. A host gives it a mailbox, and drops it to kill it.
pub trait Body: Send {
    /// Serves one message to its end.
    fn serve(&mut self, message: Message) -> BoxFuture<'_, ()>;
}

/// The way into a shell.
pub trait Mailbox: Send + Sync {
    /// Puts a message into the mailbox; gives it back when the shell is gone.
    ///
    /// # Errors
    /// The message itself.
    fn send(&self, message: Message) -> Result<(), Message>;
    /// Stops the shell when the message in its hands is served.
    fn stop(&self);
    /// Kills the shell at its next await.
    fn kill(&self);
}

/// An input, and where its reply goes.
pub(crate) struct Ask<F: Flow> {
    pub(crate) envelope: Arc<Envelope<F>>,
    pub(crate) reply: oneshot::Sender<Result<Reply<F::Outcome>, Fault>>,
}

/// The body of a shell of one kind of flow.
pub(crate) struct FlowBody<F: Flow> {
    cell: Cell<F>,
    engine: Engine<F::Domain>,
    _freed: Freed,
}

impl<F: Flow> FlowBody<F> {
    pub(crate) fn new(cell: Cell<F>, engine: Engine<F::Domain>, freed: Freed) -> Self {
        Self { cell, engine, _freed: freed }
    }
}

impl<F: Flow> Body for FlowBody<F> {
    fn serve(&mut self, message: Message) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let Message { what, held } = message;
            let Ok(ask) = what.downcast::<Ask<F>>() else {
                return; // another kind's message under this id: its caller learns it from the dropped reply
            };
            let reply = turn(&mut self.cell, &ask.envelope, false, &self.engine).await;
            if let Some(mut held) = held {
                // A shell of a flow that has ended, or never was, has no reason to stay. After any other fault it has.
                let never_was = match &reply {
                    Ok(reply) => reply.version == 0,
                    Err(fault) => *fault == Fault::NotFound,
                };
                held.finished = never_was || self.cell.is_finished();
            }
            let _ = ask.reply.send(reply);
        })
    }
}

/// The one ractor actor for flows.
pub(crate) struct Shell;

pub(crate) struct Inside(Box<dyn Body>);

impl Actor for Shell {
    type Msg = Message;
    type State = Inside;
    type Arguments = Box<dyn Body>;

    async fn pre_start(&self, _myself: ActorRef<Message>, body: Box<dyn Body>) -> Result<Inside, ActorProcessingErr> {
        Ok(Inside(body))
    }

    async fn handle(
        &self,
        _myself: ActorRef<Message>,
        message: Message,
        inside: &mut Inside,
    ) -> Result<(), ActorProcessingErr> {
        inside.0.serve(message).await;
        Ok(())
    }
}

impl Mailbox for ActorRef<Message> {
    fn send(&self, message: Message) -> Result<(), Message> {
        self.send_message(message).map_err(|why| match why {
            ractor::MessagingErr::SendErr(message) => message,
            _ => Message { what: Box::new(()), held: None },
        })
    }

    fn stop(&self) {
        ActorRef::get_cell(self).stop(Some("idle".to_owned()));
    }

    fn kill(&self) {
        ActorRef::get_cell(self).kill();
    }
}
