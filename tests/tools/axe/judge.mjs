// Prints what axe finds in pages of HTML, as JSON: a list for each page, in the order they are named.
//
// node judge.mjs FOLDER PAGE...    FOLDER is where the packages are installed.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const [folder, ...pages] = process.argv.slice(2);
const require = createRequire(resolve(folder, "package.json"));
const { JSDOM, VirtualConsole } = require("jsdom");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf-8");

// Nobody draws the page, so there are no colours to compare.
const OPTIONS = { rules: { "color-contrast": { enabled: false } } };

async function judge(page) {
  // The script of axe runs, those of the page do not; nothing that the page names is loaded.
  const { window } = new JSDOM(readFileSync(page, "utf-8"), {
    runScripts: "outside-only",
    pretendToBeVisual: true,
    virtualConsole: new VirtualConsole(),
  });
  // Of what is not drawn, nothing lies at a point. axe asks in search of a dialog on top of all.
  window.document.elementFromPoint = () => null;
  window.eval(axe);
  const { violations, incomplete } = await window.axe.run(window.document, OPTIONS);
  window.close();
  // What axe cannot tell is for a person to judge, and is told like what it finds.
  return [...violations, ...incomplete].map(({ id, impact, help, nodes }) => {
    return { rule: id, impact, help, elements: nodes.map(({ html }) => html) };
  });
}

const found = [];
for (const page of pages) {
  found.push(await judge(page));
}
console.log(JSON.stringify(found));
