//! `/oauth/logout`: a client has signed somebody out, and sends the browser here so that it is signed out as well (OpenID
//! Connect RP-Initiated Logout 1.0). The person is asked: a link of another site ends nothing.

use cairn_actors::oauth::client::Client;
use cairn_actors::oauth::parameters::Parameters;
use cairn_actors::oauth::uri::AbsoluteUri;

use super::page_request::{PageRequest, Typed, with_query};
use crate::problem::Problem;
use crate::request;
use crate::route::Answer;
use crate::theme::Page;

/// Bytes of a client's `state`.
const LONGEST_STATE: usize = 2_048;

/// `GET /oauth/logout`.
pub(super) async fn begin(request: PageRequest) -> Answer {
    let parameters = Parameters::new(request.query_pairs());
    ask(&request, &parameters).await
}

/// `POST /oauth/logout`: the same in a form, which another site sends, and so without cookies. Opened as a page, it has
/// them.
pub(super) async fn begin_by_form(request: PageRequest, form: request::Form) -> Answer {
    let parameters = Parameters::new(form.into_pairs());
    // The token that is shown is long; for whom it was issued is not.
    let client = client(&request, &parameters).await?;
    let client = client.map(|client| client.client_id).unwrap_or_default();
    let of = |name| parameters.first(name).unwrap_or_default();
    let kept = [
        ("client_id", client.as_str()),
        ("post_logout_redirect_uri", of("post_logout_redirect_uri")),
        ("state", of("state")),
    ];
    request.go(&with_query("/oauth/logout", &kept))
}

async fn ask(request: &PageRequest, parameters: &Parameters) -> Answer {
    let client = client(request, parameters).await?;
    let to = to(client.as_ref(), parameters);
    let Some(somebody) = request.signed_in().await? else {
        // Nobody is signed in here any more: there is nothing left to be asked.
        return match to {
            Some(to) => request.away(&to),
            None => request.go("/signed-out"),
        };
    };
    let name = client.as_ref().map(|client| client.client_id.clone()).unwrap_or_default();
    let uri = parameters.first("post_logout_redirect_uri").filter(|_| to.is_some()).unwrap_or_default();
    let state = parameters.first("state").unwrap_or_default();
    if let Some(to) = &to {
        request.allow_uri(to);
    }
    let page = Page::new("sign_out/client.html")
        .say("address", somebody.user.address.typed())
        .put("client_id", name)
        .put("post_logout_redirect_uri", uri)
        .put("state", state);
    request.draw(page)
}

/// Whose sign-out it is: the client that is named, else the one for which the ID token was issued.
async fn client(request: &PageRequest, parameters: &Parameters) -> Result<Option<Client>, Problem> {
    let provider = request.services().provider();
    let hinted = parameters.first("id_token_hint").and_then(|hint| provider.audience_of_hint(hint));
    let named = parameters.first("client_id").map(str::to_owned);
    match (named, hinted) {
        // Section 2: they must be the same.
        (Some(named), Some(hinted)) if named != hinted => Ok(None),
        (Some(client), _) | (None, Some(client)) => Ok(provider.client(&client).await?),
        (None, None) => Ok(None),
    }
}

/// Where the browser goes when it is done: an address that is registered for this client, and no other.
fn to(client: Option<&Client>, parameters: &Parameters) -> Option<String> {
    let uri = AbsoluteUri::parse(parameters.first("post_logout_redirect_uri")?).ok()?;
    client?.metadata.post_logout_redirect_uris.contains(&uri).then_some(())?;
    match parameters.first("state").filter(|state| state.len() <= LONGEST_STATE) {
        Some(state) => {
            let joint = if uri.as_str().contains('?') { '&' } else { '?' };
            let encoded = with_query("", &[("state", state)]);
            Some(format!("{uri}{joint}{}", encoded.trim_start_matches('?')))
        }
        None => Some(uri.as_str().to_owned()),
    }
}

/// Where the form of a sign-out leads that a client has asked for.
///
/// # Errors
/// The database is away.
pub(super) async fn destination(request: &PageRequest, typed: &Typed) -> Result<Option<String>, Problem> {
    let names = ["client_id", "post_logout_redirect_uri", "state"];
    let parameters = Parameters::new(names.map(|name| (name.to_owned(), typed.text(name))));
    let Some(client_id) = parameters.first("client_id") else { return Ok(None) };
    let client = request.services().provider().client(client_id).await?;
    Ok(to(client.as_ref(), &parameters))
}
