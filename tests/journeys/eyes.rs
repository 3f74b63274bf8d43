//! What is looked at on every page that a journey comes to: axe's findings where it is there, and our own list.

use serde_json::Value;

use super::announce_axe;
use crate::support::chrome::{Chrome, axe};

/// Targets of at least 44 pixels, labels, one heading, a language, nothing wider than the window, focus that is seen.
const OURS: &str = r#"
    var wrong = [], visible = function (e) { return e.getClientRects().length > 0; };
    var all = function (css) { return Array.prototype.slice.call(document.querySelectorAll(css)).filter(visible); };
    if (!document.documentElement.lang) wrong.push('no language');
    if (all('h1').length !== 1) wrong.push('not one h1');
    if (all('main').length !== 1) wrong.push('not one main');
    if (document.documentElement.scrollWidth > window.innerWidth) wrong.push('wider than the window: ' + document.documentElement.scrollWidth);
    all('button, .button, input:not([type=hidden]):not([type=checkbox]), .ways a, .rows a, .brand a').forEach(function (e) {
        var box = e.getBoundingClientRect();
        if (box.height < 44) wrong.push('less than 44 px high: ' + e.outerHTML + ' ' + box.height);
    });
    all('input').forEach(function (e) {
        if (!e.labels || e.labels.length !== 1) wrong.push('not one label: ' + e.outerHTML);
        if (e.placeholder) wrong.push('a placeholder: ' + e.outerHTML);
    });
    all('button').forEach(function (e) { if (!(e.textContent.trim() || e.getAttribute('aria-label'))) wrong.push('a button without a name'); });
    var luminance = function (c) {
        var parts = c.match(/[\d.]+/g).slice(0, 3).map(function (v) { v /= 255; return v <= .04045 ? v / 12.92 : Math.pow((v + .055) / 1.055, 2.4); });
        return .2126 * parts[0] + .7152 * parts[1] + .0722 * parts[2];
    };
    var behind = function (e) {
        for (; e; e = e.parentElement) {
            var c = getComputedStyle(e).backgroundColor;
            if (c !== 'transparent' && !/, 0\)$/.test(c)) return c;
        }
        return 'rgb(255, 255, 255)';
    };
    all('h1, p, label, a, button, dt, dd, li').forEach(function (e) {
        if (!e.textContent.trim()) return;
        var a = luminance(getComputedStyle(e).color), b = luminance(behind(e));
        var contrast = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
        if (contrast < 4.5) wrong.push('a contrast of ' + contrast.toFixed(2) + ': ' + e.outerHTML.slice(0, 120));
    });
    all('a, button, input').forEach(function (e) {
        if (e.disabled) return;
        e.focus({ focusVisible: true });
        if (e.matches(':focus-visible') && parseFloat(getComputedStyle(e).outlineWidth) < 3) wrong.push('focus is not seen: ' + e.outerHTML.slice(0, 120));
    });
    if (document.activeElement) document.activeElement.blur();
    return wrong;
"#;

const AXE: &str = r#"
    var done = arguments[arguments.length - 1];
    axe.run(document, { resultTypes: ['violations'] }).then(function (found) {
        done(found.violations.filter(function (v) { return v.impact === 'serious' || v.impact === 'critical'; })
            .map(function (v) { return v.id + ': ' + v.help + ' ' + v.nodes.map(function (n) { return n.html; }).join(' '); }));
    }, function (why) { done(['axe: ' + why]); });
"#;

/// Looks at the page that is shown now.
pub(super) async fn look(chrome: &Chrome, title: &str) {
    let mut wrong = found(chrome.run(OURS).await);
    announce_axe();
    if let Some(axe) = axe() {
        chrome.run(&axe).await;
        wrong.extend(found(chrome.run_async(AXE).await));
    }
    // A line that goes to the server and comes back may have moved the page on: then it is looked at there.
    assert!(wrong.is_empty(), "{title}: {wrong:#?}");
}

fn found(value: Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|one| one.as_str().unwrap_or_default().to_owned()).collect()
}
