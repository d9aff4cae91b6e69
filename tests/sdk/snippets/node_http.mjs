import { CallAutomationClient } from "@azure/communication-call-automation";

const client = new CallAutomationClient(
  "endpoint=http://127.0.0.1:9100/;accesskey=aG9va3N3aXRjaCBlbXVsYXRvcjogbm90IGEgc2VjcmV0",
  { allowInsecureConnection: true },
);
const { callConnectionProperties: call } = await client.createCall(
  { targetParticipant: { phoneNumber: "+15550101" }, sourceCallIdNumber: { phoneNumber: "+15550100" } },
  "http://127.0.0.1:8080/callbacks/dev",
);
console.log(call.callConnectionId);
