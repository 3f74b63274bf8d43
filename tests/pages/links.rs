//! `/email-change`, `/undo-email-change` and `/end-session`: links of letters behind one button each.

use super::{at_home, signs_in};
use crate::support::browser::Browser;
use crate::support::{App, Person};

on_both_databases!(
    a_new_address_is_proved_by_its_link_and_taken_back_by_the_old_ones,
    a_device_that_nobody_knows_is_signed_out_by_a_link,
    broken_links_are_told_kindly,
    a_link_says_who_else_is_signed_in_and_leads_into_no_account_of_theirs,
);

async fn a_new_address_is_proved_by_its_link_and_taken_back_by_the_old_ones(app: &App) {
    let (person, mut browser) = at_home(app, "mover").await;
    let new = Person::new("moved").email;
    let form = browser.open(app, "/account/email").await.form("change-email");
    browser.send(app, &form.with("new_email", &new).with("password", &person.password)).await;
    let link = app.letter(&new, "email.confirm").await.link().unwrap();
    let masked = format!("{}***@", person.email.chars().next().unwrap());
    let mut phone = Browser::new();
    for _ in 0..2 {
        phone.open(app, &link).await.says(200, "account's password").says(200, &masked);
    }
    // Elsewhere one click is not enough: whoever asked might have sent a stranger here.
    let form = phone.open(app, &link).await.form("email-change-link");
    phone.send(app, &form.clone().without("password")).await.says(200, "account's password");
    phone
        .send(app, &form.clone().with("password", "not the velvet umbrella"))
        .await
        .says(422, "This is not the password");
    browser.open(app, "/account").await.says(200, &person.email);
    let here = browser.open(app, &link).await;
    here.says(200, "Confirm this address for your account").says(200, &masked).form("link");
    let form = form.with("password", &person.password);
    phone.send(app, &form).await.says(200, "Your email address is changed");
    phone.send(app, &form).await.says(200, "Your email address is changed");
    phone.open(app, &link).await.says(200, "Your email address is changed");

    let undo = app.letter(&person.email, "email.changed").await.link().unwrap();
    phone.open(app, &undo).await.says(200, "Take the change of address back");
    browser.open(app, "/account").await.says(200, &new);
    let form = phone.open(app, &undo).await.form("link");
    let done = phone.send(app, &form).await;
    done.says(200, "The change is taken back: choose a new password");
    phone.open(app, &link).await.says(410, "This change counts no more");
    browser.open(app, "/account").await.says(200, "Sign in");
    // The password from before is out of force; the same page sets another one.
    signs_in(&mut browser, app, &person).await.says(422, "do not go together");
    let form = phone.open(app, &undo).await.form("set-password");
    phone.send(app, &form.clone().with("new_password", "short")).await.says(422, "at least 10 characters");
    let back = Person { password: "granite lantern 47 marmalade".to_owned(), ..person };
    let form = form.with("new_password", &back.password);
    let done = phone.send(app, &form).await;
    done.says(200, "your new password is set");
    assert_eq!(done.link("Sign in"), "/login");
    phone.open(app, &undo).await.says(200, "The change of address is taken back");
    signs_in(&mut browser, app, &back).await.says(200, &back.email);
}

async fn a_device_that_nobody_knows_is_signed_out_by_a_link(app: &App) {
    let (person, _) = at_home(app, "watched").await;
    let login = app.client().at_loopback(7).post("/auth/login", &person.credentials());
    login
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0")
        .send()
        .await
        .expect(200);
    let link = app.letter(&person.email, "session.new-device").await.link().unwrap();
    let mut phone = Browser::new();
    let page = phone.open(app, &link).await;
    page.says(200, "Was this sign-in not yours?").says(200, "It was not me");
    phone.open(app, &link).await.says(200, "Was this sign-in not yours?");
    let choose = phone.send(app, &page.form("link")).await;
    choose.says(200, "Choose a new password for your account");
    assert_eq!(choose.link("Set it later, by mail"), "/forgot-password");
    // The same link, later or elsewhere, asks for the new password as well.
    phone.send(app, &page.form("link")).await.says(200, "Choose a new password for your account");
    let form = phone.open(app, &link).await.form("set-password");
    signs_in(&mut Browser::new(), app, &person).await.says(422, "do not go together");
    phone.send(app, &form.clone().with("new_password", "short")).await.says(422, "<a href=\"#new_password\">");
    let form = form.with("new_password", "granite lantern 47 marmalade");
    for _ in 0..2 {
        let done = phone.send(app, &form).await;
        done.says(200, "Your new password is set");
        assert_eq!(done.link("Sign in"), "/login");
    }
    phone.open(app, &link).await.says(200, "That device was signed out before").says_not("set-password");
    let owner = Person { password: "granite lantern 47 marmalade".to_owned(), ..person };
    signs_in(&mut Browser::new(), app, &owner).await.says(200, &owner.email);
}

async fn a_link_says_who_else_is_signed_in_and_leads_into_no_account_of_theirs(app: &App) {
    let (person, mut browser) = at_home(app, "linked").await;
    let (other, mut theirs) = at_home(app, "host").await;
    let new = Person::new("new").email;
    let form = browser.open(app, "/account/email").await.form("change-email");
    browser.send(app, &form.with("new_email", &new).with("password", &person.password)).await;
    let note = format!("In this browser you are signed in as {}.", other.email);
    let link = app.letter(&new, "email.confirm").await.link().unwrap();
    browser.open(app, &link).await.says(200, "Confirm this address").says_not("In this browser");
    let page = theirs.open(app, &link).await;
    page.says(200, "account's password").says(200, &note);
    let done = theirs.send(app, &page.form("email-change-link").with("password", &person.password)).await;
    done.says(200, "Your email address is changed").says(200, &note).says_not("Go to your account");
    assert_eq!(done.form("logout").value("next"), "/login");
    let undo = app.letter(&person.email, "email.changed").await.link().unwrap();
    let page = theirs.open(app, &undo).await;
    page.says(200, "Take the change of address back").says(200, &note);
    let done = theirs.send(app, &page.form("link")).await;
    done.says(200, "The change is taken back: choose a new password").says(200, &note);
    let back = Person { password: "granite lantern 47 marmalade".to_owned(), ..person.clone() };
    let done = theirs.send(app, &done.form("set-password").with("new_password", &back.password)).await;
    done.says(200, "your new password is set").says(200, &note).says_not("href=\"/login\"");
    let ask = app.client().at_loopback(9).post("/auth/login", &back.credentials());
    ask.header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0")
        .send()
        .await
        .expect(200);
    let link = app.letter(&person.email, "session.new-device").await.link().unwrap();
    let page = theirs.open(app, &link).await;
    let done = theirs.send(app, &page.says(200, &note).form("link")).await;
    done.says(200, "Choose a new password for your account").says(200, &note);
    let form = done.form("set-password").with("new_password", "granite lantern 47 marmalade");
    let done = theirs.send(app, &form).await;
    done.says(200, "Your new password is set").says(200, &note);
    assert_eq!(done.form("logout").value("next"), "/login");
    theirs.open(app, "/account").await.says(200, &other.email);
}

async fn broken_links_are_told_kindly(app: &App) {
    for path in ["/email-change", "/undo-email-change", "/end-session"] {
        for query in ["", "?token=", "?token=garbage", "?token=%00%ff", "?token=cairn_ec_AAAA"] {
            let page = Browser::new().open(app, &format!("{path}{query}")).await;
            page.says(410, "does not work").says(410, "class=\"button\"");
        }
    }
}
