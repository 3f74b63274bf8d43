//! What abuse meets: limits of requests, slow-downs of guesses, passwords and addresses that are refused, headers.

mod addresses;
mod browsers;
mod guesses;
mod headers;
mod letters;
mod passwords;
mod rates;
