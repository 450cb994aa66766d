//! Bytes of any kind, in JSON.

use serde_json::Value;

/// Adds bytes to an object: as text under `name` where they are UTF-8, else
/// under `name_hex`, two digits a byte.
pub fn add_bytes(object: &mut Value, name: &str, bytes: &[u8]) {
    let Some(object) = object.as_object_mut() else { return };
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(name.to_owned(), text.into()),
        Err(_) => object.insert(format!("{name}_hex"), hex(bytes).into()),
    };
}

/// Two digits a byte.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_stays_text_and_other_bytes_are_hexadecimal() {
        let mut object = json!({});
        add_bytes(&mut object, "key", "a\u{e9}\n".as_bytes());
        add_bytes(&mut object, "payload", b"\xff\0");
        assert_eq!(object, json!({ "key": "a\u{e9}\n", "payload_hex": "ff00" }));
    }
}
