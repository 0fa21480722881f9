// Microsoft's own parser looks at queries: {"package", "tables": {name: schema}, "queries": {name: text}} on standard
// input gives {name: ["message", …]} on standard output.
"use strict";
const asked = JSON.parse(require("fs").readFileSync(0, "utf8"));
require(asked.package + "/bridge.js");
require(asked.package + "/Kusto.Language.Bridge.js");
const language = Kusto.Language;

const tables = Object.entries(asked.tables).map(([name, schema]) =>
  language.Symbols.TableSymbol.From(schema).WithName(name));
const database = new language.Symbols.DatabaseSymbol.$ctor2("resource", null, tables);
const globals = language.GlobalState.Default.WithDatabase(database);

const answer = {};
for (const [name, text] of Object.entries(asked.queries)) {
  const found = language.KustoCode.ParseAndAnalyze(text, globals).GetDiagnostics();
  answer[name] = [];
  for (let at = 0; at < found.Count; at++) answer[name].push(found.getItem(at).Message);
}
console.log(JSON.stringify(answer));
