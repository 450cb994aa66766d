//! Amounts as `docker run` takes them: `--memory 512m`, `--cpus 1.5`.

/// A text that is no amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is no {what}; write {example}")]
pub struct InvalidSize {
    text: String,
    what: &'static str,
    example: &'static str,
}

/// Reads an amount of memory in bytes: a number and `b`, `k`, `m`, `g` or `t`, in
/// steps of 1024, each also as `kb` or `kib`; a number alone is bytes.
///
/// # Errors
/// [`InvalidSize`] for anything else, zero included.
pub fn parse_size(text: &str) -> Result<u64, InvalidSize> {
    let invalid = || InvalidSize { text: text.to_owned(), what: "amount of memory", example: "512m or 2g" };
    let lower = text.trim().to_ascii_lowercase();
    let end = lower.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(lower.len());
    let (number, unit) = lower.split_at(end);
    let shift = match unit.trim() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(invalid()),
    };
    let number: f64 = number.parse().map_err(|_| invalid())?;
    let bytes = number * f64::from(1u32 << (shift / 2)) * f64::from(1u32 << (shift - shift / 2));
    // Beyond 2^53 a float no longer counts bytes; nobody has that much.
    if (1.0..=9e15).contains(&bytes) { Ok(bytes as u64) } else { Err(invalid()) }
}

/// Reads a number of CPUs, in billionths: `1.5`.
///
/// # Errors
/// [`InvalidSize`] for anything that isn't a number above zero.
pub fn parse_cpus(text: &str) -> Result<u64, InvalidSize> {
    let invalid = || InvalidSize { text: text.to_owned(), what: "number of CPUs", example: "2 or 0.5" };
    let (whole, part) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 9 || whole.len() > 6 || whole.len() + part.len() == 0 {
        return Err(invalid());
    }
    let number = |text: &str| if text.is_empty() { 0 } else { text.parse::<u64>().unwrap_or(0) };
    let nanos = number(whole) * 1_000_000_000 + number(&format!("{part:0<9}"));
    if nanos == 0 { Err(invalid()) } else { Ok(nanos) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_steps_of_1024() {
        for (text, bytes) in
            [("1", 1), ("10b", 10), ("4k", 4096), ("512M", 512 << 20), ("1.5g", 3 << 29), ("2TiB", 2 << 40)]
        {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "0", "-1m", "m", "1x", "1e3", "nan", "inf", "1.2.3g", "99999999999t"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn cpus_are_read_in_billionths() {
        for (text, nanos) in
            [("2", 2_000_000_000), ("0.5", 500_000_000), (".25", 250_000_000), ("1.000000001", 1_000_000_001)]
        {
            assert_eq!(parse_cpus(text), Ok(nanos), "{text}");
        }
        for text in ["", ".", "0", "0.0", "-1", "x", "1e3", "0.0000000001", "9999999"] {
            assert!(parse_cpus(text).is_err(), "{text}");
        }
    }
}
