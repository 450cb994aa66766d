//! An image that may not be there can't become a container: it doesn't compile.

#[test]
fn a_pull_that_is_not_finished_does_not_become_a_container() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/it/docker_compile/*.rs");
}
