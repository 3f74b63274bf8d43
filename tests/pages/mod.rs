//! Pages for people, used as a browser without scripts would use them.

mod account;
mod cookies;
mod links;
mod login;
mod look;
mod magic_link;
mod register;
mod reset_password;
mod safety;
mod slowed;
mod verify_email;

use crate::support::browser::{Browser, Page};
use crate::support::{App, Person};

/// Fills the form of a new account in and sends it.
async fn registers(browser: &mut Browser, app: &App, person: &Person) -> Page {
    let form = browser.open(app, "/register").await.form("register");
    let form = form.with("email", &person.email).with("password", &person.password);
    browser.send(app, &form.with("username", &person.username)).await
}

/// Signs in and is where one wanted to go.
async fn signs_in(browser: &mut Browser, app: &App, person: &Person) -> Page {
    let form = browser.open(app, "/login").await.form("login");
    browser.send(app, &form.with("identifier", &person.email).with("password", &person.password)).await
}

/// Somebody with an account, in a browser that is signed in to it.
async fn at_home(app: &App, name: &str) -> (Person, Browser) {
    let person = Person::new(name);
    person.joins(app).await;
    let mut browser = Browser::new();
    signs_in(&mut browser, app, &person).await.says(200, "Your account");
    (person, browser)
}
