//! The first part is read when the second one's turn has come.

use towpath::form::{Boundary, Limits, Reader};

fn main() {
    let boundary = Boundary::from_content_type("multipart/form-data; boundary=b").unwrap();
    let mut reader = Reader::new(std::io::stdin(), boundary, Limits::default());
    let first = reader.next_part().unwrap().unwrap();
    let second = reader.next_part().unwrap().unwrap();
    first.text().unwrap();
    second.text().unwrap();
}
