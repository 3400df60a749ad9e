import assert from "node:assert/strict";
import { test } from "node:test";
import { TripodError } from "../spec/errors.ts";
import { stopSignalOf } from "./signals.ts";

test("an image's stop signal is a name or a number, as docker reads it", () => {
  const read = {
    SIGTERM: 15,
    quit: 3,
    "9": 9,
    SIGRTMIN: 34,
    "SIGRTMIN+3": 37,
    "RTMAX-1": 63,
    SIGRTMAX: 64,
  };
  for (const [text, signal] of Object.entries(read)) assert.equal(stopSignalOf(text, "web"), signal, text);
  for (const absent of [undefined, ""]) assert.equal(stopSignalOf(absent, "web"), undefined);
});

test("a stop signal that does not exist is an error of the image, which names both", () => {
  for (const text of ["SIGFOO", "0", "65", "SIGRTMIN+31", "SIGRTMAX-31", "TERM\n", "toString"])
    assert.throws(
      () => stopSignalOf(text, "web:latest"),
      (error: unknown) => {
        assert.ok(error instanceof TripodError);
        assert.equal(error.code, "image-invalid");
        assert.ok(error.message.includes("web:latest") && error.message.includes(JSON.stringify(text)));
        assert.match(error.hint, /StopSignal/);
        return true;
      },
      text,
    );
});
