# requests (urllib3) as a peer: a part of the tests.
#
#     form_requests.py URL FILE    posts a form of fields and files, the file among them
import sys

import requests

url, path = sys.argv[1:]
with open(path, "rb") as file:
    content = file.read()
files = [("file", (name, content)) for name in ("a;b.txt", 'x"y.bin')]
files.append(("file", ("typed.csv", content, "text/csv")))
data = [("comment", 'grün & "quoted"\r\nline'), ("last", "")]
requests.post(url, data=data, files=files, timeout=60).raise_for_status()
