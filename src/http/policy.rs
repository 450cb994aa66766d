//! What a page of our own may do in a browser.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// The Content-Security-Policy (CSP Level 3) of a page: it runs the one script
/// and the one style that are in it, known by their hashes, and talks to where
/// it came from; by forms too, if it `has_forms` that do.
pub fn page_policy(page: &str, has_forms: bool) -> String {
    let hash_of = |element: &str| {
        let (_, rest) = page.split_once(&format!("<{element}>")).unwrap_or_default();
        let (text, _) = rest.split_once(&format!("</{element}>")).unwrap_or_default();
        STANDARD.encode(Sha256::digest(text))
    };
    let forms = if has_forms { "'self'" } else { "'none'" };
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src data:; connect-src 'self'; \
         base-uri 'none'; form-action {forms}; frame-ancestors 'none'; require-trusted-types-for 'script'",
        hash_of("script"),
        hash_of("style")
    )
}
