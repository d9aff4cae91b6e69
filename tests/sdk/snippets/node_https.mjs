import { readFileSync } from "node:fs";
import { CallAutomationClient } from "@azure/communication-call-automation";

const client = new CallAutomationClient(
  "endpoint=https://127.0.0.1:9143/;accesskey=aG9va3N3aXRjaCBlbXVsYXRvcjogbm90IGEgc2VjcmV0",
  { tlsOptions: { ca: readFileSync("emulator-ca.pem") } },
);
const { callConnectionProperties: call } = await client.createCall(
  { targetParticipant: { phoneNumber: "+15550101" }, sourceCallIdNumber: { phoneNumber: "+15550100" } },
  "http://127.0.0.1:8080/callbacks/dev",
);
console.log(call.callConnectionId);
