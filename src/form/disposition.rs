//! What a part's Content-Disposition says: the field, and the file's name.

use super::error::Rule;
use super::parameters::{self, Parameters};

/// The longest file name, in bytes: what Linux file systems take (`NAME_MAX`).
const MAX_FILE_NAME_BYTES: usize = 255;

/// `form-data; name="..."; filename="..."`, understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Disposition {
    pub(super) name: String,
    pub(super) file: FileName,
}

/// Three things that `filename` may say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FileName {
    /// It isn't there: a field.
    None,
    /// It is empty: a form's file control, in which none was chosen.
    NotChosen,
    /// The last component of what was sent.
    Chosen(String),
}

impl Disposition {
    /// `filename*` is not looked at: form data doesn't have it (RFC 7578,
    /// section 4.2), and it has been used to show two names to two readers.
    pub(super) fn parse(value: &str) -> Result<Disposition, Rule> {
        let (kind, rest) = parameters::head(value);
        if !kind.eq_ignore_ascii_case("form-data") {
            return Err(Rule::Disposition);
        }
        let (mut name, mut file) = (None, None);
        for parameter in Parameters::new(rest) {
            let parameter = parameter.ok_or(Rule::Parameter)?;
            let twice = if parameter.is("name") {
                name.replace(parameter.form_value()).is_some()
            } else if parameter.is("filename") {
                file.replace(parameter.form_value()).is_some()
            } else {
                false
            };
            if twice {
                return Err(Rule::ParameterTwice);
            }
        }
        let name = name.ok_or(Rule::NoName)?.into_owned();
        let file = match file.as_deref() {
            None => FileName::None,
            Some("") => FileName::NotChosen,
            Some(path) => FileName::Chosen(last_component(path)?.to_owned()),
        };
        Ok(Disposition { name, file })
    }
}

/// Of a Unix path, or of one of Windows: some browsers sent them whole.
fn last_component(path: &str) -> Result<&str, Rule> {
    let last = path.rsplit(['/', '\\']).next().unwrap_or(path);
    let is_name = !matches!(last, "" | "." | "..");
    let fits = last.len() <= MAX_FILE_NAME_BYTES && !last.chars().any(char::is_control);
    if is_name && fits { Ok(last) } else { Err(Rule::FileName) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(parameters: &str) -> Result<FileName, Rule> {
        Disposition::parse(&format!("form-data; name=\"f\"; {parameters}")).map(|disposition| disposition.file)
    }

    fn chosen(name: &str) -> Result<FileName, Rule> {
        Ok(FileName::Chosen(name.to_owned()))
    }

    #[test]
    fn a_file_name_is_its_last_component() {
        for (sent, want) in [
            ("a;b.txt", "a;b.txt"),
            ("x%22y", "x\"y"),
            ("../../x", "x"),
            ("/etc/passwd", "passwd"),
            (r"C:\dir\x.txt", "x.txt"),
            (r"..\../x", "x"),
            ("name=x", "name=x"),
            ("grün €.txt", "grün €.txt"),
            (".hidden", ".hidden"),
            ("...", "..."),
            (" ", " "),
        ] {
            assert_eq!(file(&format!("filename=\"{sent}\"")), chosen(want), "{sent}");
        }
        assert_eq!(file(&format!("filename=\"{}\"", "x".repeat(255))), chosen(&"x".repeat(255)));
    }

    #[test]
    fn what_can_not_name_a_file_is_refused() {
        for bad in [".", "..", "a/", "a\\", "a/..", "x%0Ay", "x%0D", "a\u{85}b", "\u{7f}"] {
            let want = if bad == "a\\" || bad == "\u{7f}" { Rule::Parameter } else { Rule::FileName };
            assert_eq!(file(&format!("filename=\"{bad}\"")), Err(want), "{bad:?}");
        }
        assert_eq!(file(&format!("filename=\"{}\"", "x".repeat(256))), Err(Rule::FileName));
        assert_eq!(file("filename=\"a\0b\""), Err(Rule::Parameter));
    }

    #[test]
    fn only_the_real_filename_counts() {
        assert_eq!(file("x=\"filename=y\""), Ok(FileName::None));
        assert_eq!(file("filename*=UTF-8''..%2fx"), Ok(FileName::None));
        assert_eq!(file("filename*=UTF-8''..%2fx; filename=a"), chosen("a"));
        assert_eq!(file("filename=\"\""), Ok(FileName::NotChosen));
        assert_eq!(file("filename=a; FileName=b"), Err(Rule::ParameterTwice));
        assert_eq!(file("name=b"), Err(Rule::ParameterTwice));
    }

    #[test]
    fn a_field_needs_a_name_of_its_own() {
        let parse = Disposition::parse;
        assert_eq!(parse("form-data"), Err(Rule::NoName));
        assert_eq!(parse("form-data; filename=\"name=x\""), Err(Rule::NoName));
        assert_eq!(parse("attachment; name=x"), Err(Rule::Disposition));
        assert_eq!(parse("form-data name=x"), Err(Rule::Disposition));
        assert_eq!(parse("form-data; name=x y"), Err(Rule::Parameter));
        assert_eq!(parse("Form-Data; Name=\"\"").map(|disposition| disposition.name), Ok(String::new()));
    }
}
