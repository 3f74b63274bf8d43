//! `/auth`: from registering to signing out, one file an endpoint.

mod login;
mod logout;
mod refresh;
mod register;
mod register_status;
mod resend;
mod verify_email;
