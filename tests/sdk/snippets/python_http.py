from azure.communication.callautomation import CallAutomationClient, PhoneNumberIdentifier
from azure.core.credentials import AzureKeyCredential

# Endpoint and key: of a connection string this SDK takes the host only, and adds https.
key = AzureKeyCredential("aG9va3N3aXRjaCBlbXVsYXRvcjogbm90IGEgc2VjcmV0")
client = CallAutomationClient("http://127.0.0.1:9100", key)
call = client.create_call(
    PhoneNumberIdentifier("+15550101"),
    "http://127.0.0.1:8080/callbacks/dev",
    source_caller_id_number=PhoneNumberIdentifier("+15550100"),
)
print(call.call_connection_id)
