// The REST operations and the events of the service, as far as an SDK of one version knows them (table.json).
import { readFileSync } from "node:fs";

const table = JSON.parse(readFileSync(new URL("../table.json", import.meta.url), "utf8"));

export const GRID_EVENTS = Object.keys(table["event grid"]);
export const ALL_EVENTS = new Set(Object.values(table.events).flatMap((part) => Object.keys(part)));

/** Of operations or of events, the names that this version knows. */
export function known(of, newest) {
  return [...Object.keys(table[of]["1.0.0"]), ...(newest ? Object.keys(table[of].later) : [])];
}

/** The name of the operation that a request is; the request itself if it is none of them. */
export function operation(method, path) {
  const request = `${method} ${path}`;
  for (const [name, template] of Object.values(table.operations).flatMap((part) => Object.entries(part))) {
    const pieces = template.split("{id}").map((piece) => piece.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    if (new RegExp(`^${pieces.join("[^/:]+")}$`).test(request)) return name;
  }
  return request;
}
