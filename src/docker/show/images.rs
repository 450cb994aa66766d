//! `docker images`.

use std::time::SystemTime;

use super::super::image::{ImageRef, ImageSummary};
use super::{ago, human_size, shown_id, table};

const NONE: &str = "<none>";

/// What is shown of images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImageColumns {
    /// Ids are whole, as with `--no-trunc`.
    pub whole: bool,
    /// Digests are shown, as with `--digests`.
    pub digests: bool,
}

/// One line of the table: an image by one of its names.
struct Row<'a> {
    repository: String,
    tag: String,
    digest: String,
    image: &'a ImageSummary,
}

/// The table that `docker images` prints, its heading first.
pub fn images(list: &[ImageSummary], columns: ImageColumns, now: SystemTime) -> String {
    let rows = list.iter().flat_map(|image| rows(image, columns.digests));
    let cells = |row: Row<'_>| {
        let id = shown_id(&row.image.id, columns.whole).to_owned();
        let (created, size) = (ago(row.image.created_unix, now), human_size(row.image.size_byte));
        (row.repository, row.tag, row.digest, id, created, size)
    };
    let rows = rows.map(cells);
    if columns.digests {
        let heading = ["REPOSITORY", "TAG", "DIGEST", "IMAGE ID", "CREATED", "SIZE"].map(str::to_owned);
        let rows =
            rows.map(|(repository, tag, digest, id, created, size)| [repository, tag, digest, id, created, size]);
        return table::lines(&std::iter::once(heading).chain(rows).collect::<Vec<_>>());
    }
    let heading = ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"].map(str::to_owned);
    let rows = rows.map(|(repository, tag, _, id, created, size)| [repository, tag, id, created, size]);
    table::lines(&std::iter::once(heading).chain(rows).collect::<Vec<_>>())
}

/// Their ids, one a line, as `docker images -q` prints them: an image with two
/// names twice.
pub fn image_ids(list: &[ImageSummary], columns: ImageColumns) -> String {
    let rows = list.iter().flat_map(|image| rows(image, columns.digests));
    rows.map(|row| format!("{}\n", shown_id(&row.image.id, columns.whole))).collect()
}

/// A line for each tag; with digests for each of them; for a repository whose
/// image has a digest alone, one.
fn rows(image: &ImageSummary, with_digests: bool) -> Vec<Row<'_>> {
    let row = |repository: &str, tag: &str, digest: &str| Row {
        repository: repository.to_owned(),
        tag: tag.to_owned(),
        digest: digest.to_owned(),
        image,
    };
    let parsed = |names: &[String]| -> Vec<ImageRef> { names.iter().filter_map(|name| name.parse().ok()).collect() };
    let (tagged, digested) = (parsed(&image.tags), parsed(&image.digests));
    let mut rows = Vec::new();
    for name in &tagged {
        let repository = name.familiar_name();
        let digests = digested.iter().filter(|it| with_digests && it.familiar_name() == repository);
        let mut digests = digests.filter_map(ImageRef::digest).peekable();
        let tag = name.tag().unwrap_or(NONE);
        if digests.peek().is_none() {
            rows.push(row(&repository, tag, NONE));
        }
        rows.extend(digests.map(|digest| row(&repository, tag, digest)));
    }
    let mut last = None;
    for name in &digested {
        let repository = name.familiar_name();
        let is_tagged = tagged.iter().any(|it| it.familiar_name() == repository);
        if is_tagged || (!with_digests && last.as_ref() == Some(&repository)) {
            continue;
        }
        rows.push(row(&repository, NONE, name.digest().unwrap_or(NONE)));
        last = Some(repository);
    }
    if rows.is_empty() {
        rows.push(row(NONE, NONE, NONE));
    }
    rows
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn image(tags: &[&str], digests: &[&str]) -> ImageSummary {
        let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        ImageSummary {
            id: format!("sha256:{}", "ab".repeat(32)),
            tags: texts(tags),
            digests: texts(digests),
            created_unix: 1000,
            size_byte: 1_980_000,
            json: json!({}),
        }
    }

    fn names(image: &ImageSummary, digests: bool) -> Vec<String> {
        rows(image, digests).into_iter().map(|row| format!("{} {} {}", row.repository, row.tag, row.digest)).collect()
    }

    #[test]
    fn an_image_has_a_line_for_each_of_its_names() {
        let digest = format!("sha256:{}", "cd".repeat(32));
        let with = |name: &str| format!("{name}@{digest}");
        let both = image(&["app:1", "app:2", "h.org:5/app:1"], &[&with("app"), &with("other")]);
        assert_eq!(
            names(&both, false),
            ["app 1 <none>", "app 2 <none>", "h.org:5/app 1 <none>", &format!("other <none> {digest}")]
        );
        assert_eq!(names(&both, true)[0], format!("app 1 {digest}"));
        for (tags, digests) in [(&[][..], &[][..]), (&["<none>:<none>"], &["<none>@<none>"])] {
            assert_eq!(names(&image(tags, digests), true), ["<none> <none> <none>"]);
        }
    }

    #[test]
    fn the_table_is_the_cli_s() {
        let now = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1100);
        let list = [image(&["busybox:1"], &[])];
        assert_eq!(
            images(&list, ImageColumns::default(), now),
            "REPOSITORY   TAG       IMAGE ID       CREATED              SIZE\n\
             busybox      1         abababababab   About a minute ago   1.98MB\n"
        );
        assert_eq!(image_ids(&list, ImageColumns::default()), "abababababab\n");
    }
}
