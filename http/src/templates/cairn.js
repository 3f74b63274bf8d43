// What makes the pages smoother where scripts run. Every page works without it.
"use strict";
(function () {
  var each = function (selector, act) { Array.prototype.forEach.call(document.querySelectorAll(selector), act); };

  // The summary of errors is where reading goes on.
  var summary = document.getElementById("summary");
  if (summary) summary.focus();

  // "Show" beside a password: a button that says its state.
  each("button[data-shows]", function (button) {
    var field = document.getElementById(button.getAttribute("data-shows"));
    if (!field) return;
    button.hidden = false;
    button.addEventListener("click", function () {
      var shown = field.type === "text";
      field.type = shown ? "password" : "text";
      var does = shown ? "data-show" : "data-hide";
      button.textContent = button.getAttribute(does);
      button.setAttribute("aria-label", button.getAttribute(does + "-label"));
    });
    // What is sent is a password again, so that the browser does not remember it as a text.
    if (field.form) field.form.addEventListener("submit", function () { field.type = "password"; });
  });

  // The strength of a new password, from the same function that will judge it.
  each("[data-strength-of]", function (line) {
    var field = document.getElementById(line.getAttribute("data-strength-of"));
    if (!field || !window.fetch) return;
    var asked = 0, timer = 0;
    var ask = function () {
      var mine = ++asked;
      if (!field.value) { line.textContent = ""; return; }
      var body = new URLSearchParams(new FormData(field.form));
      body.set("password", field.value);
      fetch("/password-strength", { method: "POST", body: body, credentials: "same-origin" })
        .then(function (answer) {
          if (answer.ok) return answer.json();
          // Too often: ask again when the server says.
          var wait = Number(answer.headers.get("Retry-After"));
          if (answer.status === 429 && wait > 0 && mine === asked) timer = setTimeout(ask, wait * 1000);
          return { text: "" };
        })
        .then(function (said) { if (mine === asked) line.textContent = said.text; })
        .catch(function () {});
    };
    field.addEventListener("input", function () { clearTimeout(timer); timer = setTimeout(ask, 900); });
  });

  // A form that carries an answer back to an application goes by itself.
  each("form[data-submits]", function (form) { form.submit(); });

  // Instants in the reader's own time.
  var local = function (element) {
    var at = new Date(element.getAttribute("datetime"));
    if (isNaN(at)) return;
    var options = element.hasAttribute("data-day") ? { dateStyle: "long", timeStyle: "short" } : { hour: "2-digit", minute: "2-digit" };
    element.textContent = new Intl.DateTimeFormat(document.documentElement.lang, options).format(at);
  };
  each("time[datetime]", local);

  // "Send again", with the seconds left.
  each("button[data-wait]", function (button) {
    var left = Number(button.getAttribute("data-wait"));
    var said = button.textContent;
    var count = function () {
      button.disabled = left > 0;
      button.textContent = left > 0 ? button.getAttribute("data-waiting").replace("{seconds}", left) : said;
      if (left-- > 0) setTimeout(count, 1000);
    };
    if (left > 0) count();
  });

  // The page moves on by itself when the link is opened elsewhere.
  each("[data-events]", function (place) {
    if (!window.EventSource) return;
    var events;
    var listen = function () {
      events = new EventSource(place.getAttribute("data-events"));
      events.addEventListener("mail", function (event) { place.textContent = event.data; });
      events.addEventListener("moved", function () { events.close(); location.assign(place.getAttribute("data-next")); });
      // The server is away for a moment: ask again, as long as somebody waits.
      events.addEventListener("error", function () { if (events.readyState === 2) setTimeout(listen, 3000); });
    };
    listen();
    // What a form of this page is answered with leads on as well, and brings cookies: nothing must get in its way.
    document.addEventListener("submit", function () { events.close(); });
    addEventListener("pagehide", function () { events.close(); });
    addEventListener("pageshow", function (event) { if (event.persisted) listen(); });
  });
})();
