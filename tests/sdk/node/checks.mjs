// Checks with names: one line for each, a summary, and an exit code.
import { isDeepStrictEqual } from "node:util";

/** What comes next needs what failed. */
class StoryOver extends Error {}

/** Counts checks and prints each. */
export class Checks {
  passed = 0;
  failed = 0;
  prefix = "";

  /** A check that passes unless it throws; the story goes on either way. Gives what `act` gave. */
  async check(name, act) {
    try {
      const result = await act();
      this.passed += 1;
      console.log(`ok ${this.prefix}${name}`);
      return result;
    } catch (error) {
      this.failed += 1;
      console.log(`FAILED ${this.prefix}${name}: ${why(error)}`);
      return undefined;
    }
  }

  /** A check without which the rest of the story makes no sense. */
  async must(name, act) {
    const failed = this.failed;
    const result = await this.check(name, act);
    if (this.failed > failed) throw new StoryOver(name);
    return result;
  }

  /** Tells a story to its end, or as far as it goes. */
  async story(tell, ...rest) {
    const started = performance.now();
    try {
      await tell(...rest);
    } catch (error) {
      if (!(error instanceof StoryOver)) {
        this.failed += 1;
        console.log(`FAILED ${this.prefix}${tell.name}: ${why(error)}`);
      }
    }
    console.log(`   ${tell.name} took ${((performance.now() - started) / 1000).toFixed(1)} s`);
  }
}

/** One line: the error, and the line of the suite that it came from. */
function why(error) {
  const own = String(error?.stack ?? "").split("\n")
    .find((line) => line.includes("/node/") && !line.includes("node_modules") && !line.includes("checks.mjs"));
  const place = own ? ` (${own.trim().replace(/^at .*\//, "").replace(/\)$/, "")})` : "";
  return `${error?.name} ${String(error?.message ?? error).replace(/\s+/g, " ")}${place}`;
}

/** Throws unless they are equal, and says both. */
export function same(got, wanted, what = "it") {
  if (!isDeepStrictEqual(got, wanted)) {
    throw new Error(`${what} is ${JSON.stringify(got)}, not ${JSON.stringify(wanted)}`);
  }
}

/** It must be refused with this status, and the SDK must understand the error body. */
export async function refused(status, act) {
  try {
    await act();
  } catch (error) {
    same(error.statusCode, status, `the status (${error.name} ${error.message})`);
    if (!error.code || !error.message) throw new Error(`the SDK finds no code and message in ${error}`);
    return;
  }
  throw new Error(`it was done, not refused with ${status}`);
}
