//! A handler that can end without an end of its reply doesn't compile.

#[test]
fn a_handler_without_an_end_does_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/it/http_compile/*.rs");
}
