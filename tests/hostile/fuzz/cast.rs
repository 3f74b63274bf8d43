//! Live credentials to grow requests from: people amid everything that an account can be amid.

use crate::support::browser::{Browser, Page};
use crate::support::client::encoded;
use crate::support::{App, Dice, Person, json};

use super::grow::bent;

/// Values by the names under which seeds ask for them.
pub struct Cast(Vec<(&'static str, String)>);

/// Where a value is put, and so how it is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Json,
    Form,
    Query,
    Header,
}

/// The flow that a page waits for.
fn flow_of(page: &Page) -> String {
    let flow = page.url.split("flow=").nth(1).unwrap_or_else(|| panic!("no flow: {}", page.answer));
    flow.split('&').next().unwrap_or_default().to_owned()
}

/// A client of the provider, and what it has.
struct Provider {
    client: String,
    /// An authorization that waits for consent.
    authorization: String,
    /// A code that was not redeemed.
    code: String,
    refresh: String,
    access: String,
}

impl Provider {
    /// A public client, which whoever is signed in in a browser lets in.
    async fn of(app: &App, browser: &mut Browser) -> Self {
        // Several casts may be at one server.
        let client = Person::new("client").username;
        let metadata = json!({
            "client_id": client,
            "client_name": "Fuzzed",
            "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
            "redirect_uris": ["https://client.example/cb"],
            "post_logout_redirect_uris": ["https://client.example/bye"],
        });
        app.operations().post("/clients", &metadata).send().await.expect(201);
        let ask = format!(
            "/oauth/authorize?client_id={client}&redirect_uri=https%3A%2F%2Fclient.example%2Fcb&response_type=code\
             &scope=openid%20profile&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM\
             &code_challenge_method=S256"
        );
        let asked = browser.open(app, &ask).await;
        let form = asked.form("consent");
        let allowed = browser.send(app, &form.pressed("decision", "allow")).await;
        let code = allowed.parameter("code");
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let redeem = [
            ("grant_type", "authorization_code"),
            ("client_id", &client),
            ("code", &code),
            ("code_verifier", verifier),
        ];
        let tokens = app.client().form("/oauth/token", &redeem).send().await.expect(200);
        let text = |name: &str| tokens[name].as_str().unwrap_or_default().to_owned();
        let code = browser.open(app, &ask).await.parameter("code");
        let waiting = browser.open(app, &format!("{ask}&prompt=consent")).await;
        Self {
            client,
            authorization: flow_of(&waiting),
            code,
            refresh: text("refresh_token"),
            access: text("access_token"),
        }
    }
}

impl Cast {
    /// Brings people into every situation that a route is for.
    pub async fn of(app: &App) -> Self {
        let person = Person::new("fuzzed");
        person.joins(app).await;
        let mut browser = Browser::new();
        let form = browser.open(app, "/login").await.form("login");
        let home = browser.send(app, &form.with("identifier", &person.email).with("password", &person.password)).await;
        let form_token = home.form("logout").value("form_token").to_owned();
        let tokens = person.signs_in(app).await;
        // Somebody who has not proved their address, in another browser.
        let waiting = Person { password: person.password.clone(), ..Person::new("waiting") };
        let mut other = Browser::new();
        let form = other.open(app, "/register").await.form("register");
        let begun = other.send(app, &form.with("email", &waiting.email).with("password", &waiting.password)).await;
        let registration = flow_of(&begun);
        let proof = waiting.verification(app).await;
        // There somebody signs in by mail, too: whoever is signed in is not asked for it.
        let form = other.open(app, "/magic-link").await.form("magic-link");
        let magic = flow_of(&other.send(app, &form.with("email", &person.email)).await);
        let sign_in = app.letter(&person.email, "magic-link.sign-in").await;

        let form = browser.open(app, "/forgot-password").await.form("forgot-password");
        let recovery = flow_of(&browser.send(app, &form).await);
        let reset = app.letter(&person.email, "recovery.reset").await;

        let elsewhere = Person::new("elsewhere").email;
        let form = browser.open(app, "/account/email").await.form("change-email");
        let form = form.with("new_email", &elsewhere).with("password", &person.password);
        let change = flow_of(&browser.send(app, &form).await);
        let confirm = app.letter(&elsewhere, "email.confirm").await;

        // Somebody whose address was changed, and who signed in from a strange device.
        let mut mover = Person::new("mover");
        let moved = mover.arrives(app).await;
        let undo = mover.moves_to(app, &moved, &Person::new("moved").email).await;
        let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0";
        let login = app.client().at_loopback(9).post("/auth/login", &mover.credentials());
        login.header("user-agent", agent).send().await.expect(200);
        let disown = app.letter(&mover.email, "session.new-device").await;

        let provider = Provider::of(app, &mut browser).await;
        let known = app.client().get("/auth/devices").bearer(&tokens.access).send().await.expect(200);
        let known_device = known["devices"][0]["id"].as_str().expect("the first browser's device").to_owned();

        let link = |letter: &crate::support::letter::Letter| letter.token().expect("a link in the letter");
        let cookie = |browser: &Browser, name: &str| match browser.cookie(name) {
            Some(value) => value.to_owned(),
            None => panic!("no cookie {name}"),
        };
        let flows = [cookie(&browser, "cairn_flows"), cookie(&other, "cairn_flows")].join(".");
        Self(vec![
            ("client", provider.client),
            ("authorization", provider.authorization),
            ("authorization_code", provider.code),
            ("client_refresh", provider.refresh),
            ("client_access", provider.access),
            ("access", tokens.access),
            ("refresh", tokens.refresh),
            ("session", tokens.session),
            ("email", person.email),
            ("username", person.username),
            ("password", person.password),
            ("elsewhere", elsewhere),
            ("registration", registration),
            ("verify", link(&proof)),
            ("code", proof.code().expect("a code in the letter")),
            ("recovery", recovery),
            ("reset", link(&reset)),
            ("magic", magic),
            ("sign_in", link(&sign_in)),
            ("sign_in_code", sign_in.code().expect("a code in the letter")),
            ("change", change),
            ("confirm", link(&confirm)),
            ("undo", undo),
            ("disown", link(&disown)),
            ("known_device", known_device),
            ("form_token", form_token),
            ("port", app.client().server().port().to_string()),
            ("browser", cookie(&browser, "cairn_browser")),
            ("flows", flows),
            ("signed", cookie(&browser, "cairn_session")),
            ("device", cookie(&browser, "cairn_device")),
        ])
    }

    /// The value of a name.
    pub fn value(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.map_or_else(|| panic!("no seed may ask for <{name}>"), |(_, value)| value)
    }

    /// A template with `<name>` replaced by values, some of which are bent: a bit flipped, another's prefix, cut short.
    pub fn fill(&self, template: &str, place: Place, dice: &mut Dice) -> String {
        self.filled(template, place, |value| if dice.one_in(4) { bent(dice, value) } else { value.to_owned() })
    }

    /// A template with `<name>` replaced by values as they are.
    pub fn plain(&self, template: &str, place: Place) -> String {
        self.filled(template, place, str::to_owned)
    }

    fn filled(&self, template: &str, place: Place, mut changed: impl FnMut(&str) -> String) -> String {
        let mut out = String::new();
        let mut rest = template;
        while let Some((before, behind)) = rest.split_once('<') {
            out.push_str(before);
            let (name, behind) = behind.split_once('>').expect("a name ends");
            let value = changed(self.value(name));
            out.push_str(&match place {
                Place::Json => json!(value).to_string().trim_matches('"').to_owned(),
                Place::Form | Place::Query => encoded(&value),
                Place::Header => value,
            });
            rest = behind;
        }
        out + rest
    }
}
