//! Pages for people, used as a browser without scripts would use them.

mod verify_email;
