//! `/auth`: from registering to signing out, one file an endpoint.

mod config;
mod devices;
mod email_change;
mod email_change_undo;
mod letters;
mod login;
mod logout;
mod logout_all;
mod magic_link;
mod password_change;
mod password_reset;
mod refresh;
mod register;
mod register_status;
mod resend;
mod sessions;
mod sessions_end;
mod status;
mod step_up;
mod verify_email;
