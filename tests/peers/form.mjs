// node's FormData, fetch and Response (undici) as a peer: a part of the tests.
//
//     form.mjs send URL FILE    posts a form of fields and files, the file among them
//     form.mjs read TYPE        reads a body of this Content-Type from standard input,
//                               prints a line of JSON a part
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { buffer } from "node:stream/consumers";

const [, , what, of, path] = process.argv;

if (what === "send") {
  const blob = new Blob([await readFile(path)], { type: "text/csv" });
  const form = new FormData();
  form.append("comment", 'grün & "quoted"\r\nline');
  for (const name of ["a;b.txt", 'x"y.bin', "grün.txt"]) form.append("file", blob, name);
  form.append('na"me', "");
  form.append("last", "");
  const reply = await fetch(of, { method: "POST", body: form });
  if (reply.status !== 200) throw new Error(`${reply.status}`);
} else {
  const reply = new Response(await buffer(process.stdin), { headers: { "Content-Type": of } });
  for (const [name, value] of await reply.formData()) {
    const bytes = typeof value === "string" ? value : Buffer.from(await value.arrayBuffer());
    const hash = createHash("sha256").update(bytes).digest("hex");
    console.log(JSON.stringify([name, value.name ?? "", hash]));
  }
}
