// The page of the demo's payment provider: what happens to a payment is chosen by hand.

import { html, Notice, Page, show, useState } from "../ui.js";
import { loadWords, money, t } from "../words.js";

const HOW = ["pay", "late", "twice", "fail"];

const isAway = (response) => !response || response.status >= 500;

function Payment({ id, amount, currency, back }) {
  const [fails, tell] = useState(false);
  const choose = async (how) => {
    tell(false);
    const response = await fetch(location.pathname, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ how }),
    }).catch(() => null);
    if (response?.ok) location.assign((await response.json()).back);
    else tell(true);
  };
  return html`<section class="panel narrow">
    <h1>${t("title", { amount: money(amount, currency) })}</h1>
    <p class="soft">${t("order", { reservation: id })}</p>
    <p>${t("text")}</p>
    ${HOW.map(
      (how) => html`<button
        type="button"
        key=${how}
        class="choice wide"
        onClick=${() => choose(how)}
      >
        <strong>${t(how)}</strong>
        <span class="soft told">${t(`${how}.told`)}</span>
      </button>`,
    )}
    ${fails && html`<${Notice} kind="error" title=${t("no-answer")} />`}
    <p><a href=${back}>${t("back")}</a></p>
  </section>`;
}

await loadWords("pay");
document.title = t("page-title");
const response = await fetch(`${location.pathname}/order`).catch(() => null);
const order = response?.ok ? await response.json() : null;
const content = order
  ? html`<${Payment} ...${order} />`
  : html`<${Notice} kind="error" title=${t(isAway(response) ? "no-answer" : "unknown")} />`;
show(html`<${Page} name=${t("page-name")}>${content}<//>`);
