//! A part that outlives its turn doesn't compile.

#[test]
fn a_part_kept_beyond_its_turn_does_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/it/form_compile/*.rs");
}
