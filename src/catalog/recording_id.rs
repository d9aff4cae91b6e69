//! The content of a recording id: base64url of a JSON object with two GUIDs, `PlatformEndpointId` and
//! `ResourceSpecificId`.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::Deserialize;

/// Senders differ in padding.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

#[derive(Deserialize)]
struct RecordingIdParts {
    #[serde(rename = "PlatformEndpointId", alias = "platformEndpointId")]
    platform_endpoint_id: String,
}

/// The endpoint of the media platform that makes the recording; `None` for an id of another form.
pub(super) fn endpoint(recording_id: &str) -> Option<String> {
    // The standard alphabet differs in two characters and means the same.
    let spelled = recording_id.replace('+', "-").replace('/', "_");
    let json = BASE64URL.decode(spelled).ok()?;
    let parts: RecordingIdParts = serde_json::from_slice(&json).ok()?;
    Some(parts.platform_endpoint_id)
}

#[cfg(test)]
mod tests {
    use base64::{
        engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD},
        prelude::*,
    };

    use super::endpoint;

    #[test]
    fn the_endpoint_is_read_in_every_spelling_of_base64() {
        // The angle brackets and question marks come out as '-', '_', '+' and '/'.
        let json = r#"{"PlatformEndpointId":"8f0f7a51-6a6d-4c27-9a3e-1f7f8b1f6a10","ResourceSpecificId":"<?>>~~??"}"#;
        for id in [
            URL_SAFE_NO_PAD.encode(json),
            URL_SAFE.encode(json),
            STANDARD.encode(json),
        ] {
            assert_eq!(
                endpoint(&id).as_deref(),
                Some("8f0f7a51-6a6d-4c27-9a3e-1f7f8b1f6a10"),
                "{id}"
            );
        }
    }

    #[test]
    fn an_id_of_another_form_has_no_endpoint() {
        for id in [
            String::new(),
            "recording-1".to_owned(),
            "eyJ".to_owned(),
            URL_SAFE_NO_PAD.encode("[1]"),
            URL_SAFE_NO_PAD.encode(r#"{"PlatformEndpointId":7}"#),
            URL_SAFE_NO_PAD.encode(r#"{"ResourceSpecificId":"x"}"#),
        ] {
            assert_eq!(endpoint(&id), None, "{id}");
        }
    }
}
