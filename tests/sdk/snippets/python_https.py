from azure.communication.callautomation import CallAutomationClient, PhoneNumberIdentifier

client = CallAutomationClient.from_connection_string(
    "endpoint=https://127.0.0.1:9143/;accesskey=aG9va3N3aXRjaCBlbXVsYXRvcjogbm90IGEgc2VjcmV0",
    connection_verify="emulator-ca.pem",
)
call = client.create_call(
    PhoneNumberIdentifier("+15550101"),
    "http://127.0.0.1:8080/callbacks/dev",
    source_caller_id_number=PhoneNumberIdentifier("+15550100"),
)
print(call.call_connection_id)
