"""What a query is understood as. The tables are the definition: a line for each way in which people write."""

import time

import pytest

from rag_app.core.models import Filters
from rag_app.features.search.understanding import QueryKind, understood

SYMBOLS = [
    # One name, as typed, in the languages' own ways.
    ("close", "close", ""),
    ("Pool.close", "pool.close", ""),
    ("Pool.close()", "pool.close", ""),
    ("  Pool  ", "pool", ""),
    ("__init__", "__init__", ""),
    ("_private", "_private", ""),
    ("MAX_RETRIES", "max_retries", ""),
    ("parseArgs", "parseargs", ""),
    ("flask.app.Flask.route", "flask.app.flask.route", ""),
    ("self.close", "close", ""),
    ("self._pool.close()", "_pool.close", ""),
    ("cls.create", "create", ""),
    ("@cached_property", "cached_property", ""),
    ("this.handleClick", "handleclick", ""),
    ("Array.prototype.flatMap", "array.prototype.flatmap", ""),
    ("$scope", "scope", ""),
    ("useEffect()", "useeffect", ""),
    ("Response.json()", "response.json", ""),
    ("response.json", "response.json", ""),
    ("Map<string, number>", "map", ""),
    ("Array#map", "array.map", ""),
    ("http.Server.ListenAndServe", "http.server.listenandserve", ""),
    ("(*Pool).Close", "pool.close", ""),
    ("std::collections::HashMap", "std.collections.hashmap", ""),
    ("Vec<u8>::with_capacity", "vec.with_capacity", ""),
    ("crate::pool::Pool", "crate.pool.pool", ""),
    ("println!", "println", ""),
    ("std::vector<int>", "std.vector", ""),
    ("std::map<std::string, int>::iterator", "std.map.iterator", ""),
    ("Foo::~Foo", "foo.foo", ""),
    ("conn->close", "conn.close", ""),
    ("::close", "close", ""),
    ("java.util.concurrent.ConcurrentHashMap", "java.util.concurrent.concurrenthashmap", ""),
    ("Outer$Inner", "outer.inner", ""),
    ("System.Collections.Generic.List<T>", "system.collections.generic.list", ""),
    ("Foo#bar", "foo.bar", ""),
    ("ActiveRecord::Base#save!", "activerecord.base.save", ""),
    ("empty?", "empty?", ""),
    ("$this->foo", "foo", ""),
    ("$this->foo()", "foo", ""),
    ("parent::__construct", "__construct", ""),
    ("App\\Http\\Kernel", "app.http.kernel", ""),
    ("\\App\\Models\\User::find", "app.models.user.find", ""),
    ("`close`", "close", ""),
    ("함수", "함수", ""),
    ("ValueError", "valueerror", ""),
    # With what it is.
    ("class HTTPHeaders", "httpheaders", "class"),
    ("the class Pool", "pool", "class"),
    ("Pool class", "pool", "class"),
    ("function foo()", "foo", "function"),
    ("function foo", "foo", "function"),
    ("def parse_args", "parse_args", "function"),
    ("func ListenAndServe", "listenandserve", "function"),
    ("fn main", "main", "function"),
    ("struct stat", "stat", "struct"),
    ("interface Reader", "reader", "interface"),
    ("trait Iterator", "iterator", "trait"),
    ("enum Color", "color", "enum"),
    ("type Handler", "handler", "type"),
    ("const MAX_SIZE", "max_size", "constant"),
    ("macro vec!", "vec", "macro"),
    ("module Sinatra", "sinatra", "module"),
    ("the `close` method", "close", "method"),
    ("close method", "close", "method"),
    ("method close of Pool", "pool.close", "method"),
    ("the close method of the Pool class", "pool.close", "method"),
    ("Pool 클래스", "pool", "class"),
    ("parse_args 함수", "parse_args", "function"),
    ("where is parse_args defined", "parse_args", ""),
    ("where is the function foo defined?", "foo", "function"),
    ("definition of HTTPServer", "httpserver", ""),
    ("type CompletionOptions struct", "completionoptions", "struct"),
    ("find the class ConnectionPool", "connectionpool", "class"),
]

PATHS = [
    ("src/app.py", ("src/app.py",)),
    ("app.py", ("app.py",)),
    ("app.py:12", ("app.py",)),
    ("./src/app.py:12:5", ("src/app.py",)),
    ("src/app.py:12-30", ("src/app.py",)),
    ("../lib/util.rb", ("lib/util.rb",)),
    ("src/foo/", ("src/foo/",)),
    ("src/foo", ("src/foo",)),
    ("a\\b.py", ("a/b.py",)),
    ("C:\\work\\app\\Program.cs", ("work/app/Program.cs",)),
    ("/usr/lib/python3/site-packages/flask/app.py", ("usr/lib/python3/site-packages/flask/app.py",)),
    ("pkg/http/server.go", ("pkg/http/server.go",)),
    ("net/http", ("net/http",)),
    ("package.json", ("package.json",)),
    ("Cargo.lock", ("Cargo.lock",)),
    ("Dockerfile", ("Dockerfile",)),
    (".github/workflows/ci.yml", (".github/workflows/ci.yml",)),
    (".gitignore", (".gitignore",)),
    ("src/main.rs#L12-L20", ("src/main.rs",)),
    ("user.service.spec.ts", ("user.service.spec.ts",)),
    ("app/[id]/page.tsx", ("app/[id]/page.tsx",)),
    ("Foo.java(12)", ("Foo.java",)),
    ("tests/test_app.py::TestPool::test_close", ("tests/test_app.py",)),
    ("app.py, line 12", ("app.py",)),
    ("include/linux/list.h", ("include/linux/list.h",)),
    ("@scope/pkg/index.js", ("@scope/pkg/index.js",)),
    ("`src/app.py`", ("src/app.py",)),
]

TRACEBACK = """Traceback (most recent call last):
  File "/srv/app/main.py", line 12, in run
    pool.close()
  File "/srv/app/pool.py", line 80, in close
    raise PoolError("the pool is closed: " + name)
app.errors.PoolError: the pool is closed: main"""
CHAINED = """Traceback (most recent call last):
  File "a.py", line 1, in f
KeyError: 'x'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "a.py", line 3, in g
RuntimeError: no such setting"""
JAVA = """Exception in thread "main" java.lang.IllegalStateException: Could not start
\tat com.example.Server.start(Server.java:42)
\tat com.example.Main.main(Main.java:7)
Caused by: java.net.BindException: Address already in use
\tat java.base/sun.nio.ch.Net.bind0(Native Method)
\t... 3 more"""
NODE = """/srv/app/pool.js:14
    throw new Error('pool is closed');
    ^

Error: pool is closed
    at Pool.take (/srv/app/pool.js:14:11)
    at Object.<anonymous> (/srv/app/index.js:3:6)"""
GO = """panic: runtime error: index out of range [5] with length 3

goroutine 1 [running]:
main.main()
\t/tmp/main.go:8 +0x1d"""
RUST = """thread 'main' panicked at src/main.rs:4:5:
index out of bounds: the len is 3 but the index is 5
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace"""
CSHARP = """Unhandled exception. System.NullReferenceException: Object reference not set to an instance of an object.
   at Shop.Cart.Add(Item item) in /src/Cart.cs:line 12"""
PHP = """PHP Fatal error:  Uncaught Error: Call to undefined function foo() in /var/www/index.php:3
Stack trace:
#0 {main}"""
RUBY = "app.rb:3:in `total': undefined method `sum' for nil:NilClass (NoMethodError)"

ERRORS = [
    # What languages raise.
    ("ValueError: bad value: 3", "bad value: 3"),
    ("TypeError: x is not a function at foo (a.js:3:4)", "x is not a function"),
    (
        "Uncaught TypeError: Cannot read properties of undefined (reading 'id')",
        "Cannot read properties of undefined (reading 'id')",
    ),
    ("requests.exceptions.ConnectionError: Max retries exceeded", "Max retries exceeded"),
    ("ModuleNotFoundError: No module named 'yaml'", "No module named 'yaml'"),
    ("java.lang.NullPointerException: name must not be null", "name must not be null"),
    ("System.ArgumentNullException: Value cannot be null.", "Value cannot be null."),
    ("Errno::ENOENT: No such file or directory", "No such file or directory"),
    ("KeyError: 'name'", "name"),
    ("DeprecationWarning: use open_pool instead", "use open_pool instead"),
    ("PermissionError: [Errno 13] Permission denied: '/etc/x'", "Permission denied: '/etc/x'"),
    ("RangeError [ERR_OUT_OF_RANGE]: The value is out of range", "The value is out of range"),
    ("Error: listen EADDRINUSE: address already in use", "listen EADDRINUSE: address already in use"),
    ("ENOENT: no such file or directory, open 'a.txt'", "no such file or directory, open 'a.txt'"),
    ("why do I get ValueError: bad value", "bad value"),
    (TRACEBACK, "the pool is closed: main"),
    (TRACEBACK.replace("\n", " "), "the pool is closed: main"),
    (CHAINED, "no such setting"),
    (JAVA, "Address already in use"),
    (NODE, "pool is closed"),
    (GO, "index out of range [5] with length 3"),
    (RUST, "index out of bounds: the len is 3 but the index is 5"),
    (CSHARP, "Object reference not set to an instance of an object."),
    (PHP, "Call to undefined function foo()"),
    (RUBY, "undefined method `sum' for nil:NilClass"),
    ("thread 'main' panicked at 'pool is closed', src/main.rs:2:5", "pool is closed"),
    ("panic: send on closed channel", "send on closed channel"),
    ("at com.foo.Bar.baz(Bar.java:12)", ""),
    # What compilers and tools print.
    ("main.c:3:5: error: unknown type name 'foo'", "unknown type name 'foo'"),
    (
        "src/a.ts(3,4): error TS2322: Type 'string' is not assignable to type 'number'.",
        "Type 'string' is not assignable to type 'number'.",
    ),
    ("error[E0382]: borrow of moved value: `x`", "borrow of moved value: `x`"),
    ("a.cpp:7:1: warning: unused variable 'x' [-Wunused-variable]", "unused variable 'x'"),
    ("./main.go:9:2: undefined: foo", "undefined: foo"),
    (
        "fatal: not a git repository (or any of the parent directories)",
        "not a git repository (or any of the parent directories)",
    ),
    ("npm ERR! missing script: start", "missing script: start"),
    ("undefined reference to `foo'", "undefined reference to `foo'"),
    ("error: linker `cc` not found", "linker `cc` not found"),
    ("Faraday::RackBuilder::StackLocked: can't modify the stack", "can't modify the stack"),
    ("fix `ReferenceError: navigator is not defined` for others", "navigator is not defined"),
    # Log lines.
    ("E/Capacitor: Unable to inject Capacitor", "Unable to inject Capacitor"),
    ('{"level":40,"msg":"Reply was already sent"}', "Reply was already sent"),
    ('HTTP/1.1 431 {"error":"Too Large","message":"Header is too large","statusCode":431}', "Header is too large"),
    ("2024-01-02 03:04:05,123 ERROR [main] c.f.Pool - pool is closed", "pool is closed"),
    ("2024-01-02T03:04:05.123Z INFO server started on port 8000", "server started on port 8000"),
    (
        "2024-01-02 03:04:05.123  WARN 1234 --- [nio-8080] o.s.web.Servlet : No mapping for GET /x",
        "No mapping for GET /x",
    ),
    ("[2024-01-02 03:04:05 +0000] [12] [CRITICAL] WORKER TIMEOUT (pid:14)", "WORKER TIMEOUT (pid:14)"),
    ("ERROR:root:could not reach the server", "could not reach the server"),
    ('ERROR: relation "users" does not exist', 'relation "users" does not exist'),
    ("[error] 12#12: *1 upstream timed out", "12#12: *1 upstream timed out"),
    ("Jan  2 03:04:05 host sshd[123]: Failed password for root", "Failed password for root"),
    ("I0102 15:04:05.000000   1 server.go:12] listening on :80", "listening on :80"),
    ('time="2024-01-02T03:04:05Z" level=error msg="pool is closed" pool=main', "pool is closed"),
    ('{"level":"error","ts":1.5,"msg":"pool is closed","pool":"main"}', "pool is closed"),
    ("[12345.678901] usb 1-1: device descriptor read/64, error -71", "usb 1-1: device descriptor read/64, error -71"),
    ("WARNING django.request Not Found: /favicon.ico", "Not Found: /favicon.ico"),
    # The message alone.
    ("cannot read property 'x' of undefined", "cannot read property 'x' of undefined"),
    ("x is not a function", "x is not a function"),
    ("invalid literal for int() with base 10: 'a'", "invalid literal for int() with base 10: 'a'"),
    ("'NoneType' object has no attribute 'close'", "'NoneType' object has no attribute 'close'"),
    ("no such file or directory: 'a.txt'", "no such file or directory: 'a.txt'"),
    ("failed to connect to the server after 3 tries", "failed to connect to the server after 3 tries"),
    ("unexpected token } in JSON at position 3", "unexpected token } in JSON at position 3"),
    ("expected str, got int", "expected str, got int"),
    ("connection refused", "connection refused"),
    ("list index out of range", "list index out of range"),
    ("takes 2 positional arguments but 3 were given", "takes 2 positional arguments but 3 were given"),
    ('"the pool is closed: ValueError: no"', "no"),
    ("이 오류가 왜 나죠? TypeError: x is not a function", "x is not a function"),
]

CODE = [
    ("def parse_args(argv, *, strict=False):", "parse_args", "function"),
    ("async def close(self) -> None:", "close", "function"),
    ("class Pool(Base):", "pool", "class"),
    ("for item in pool.items():", "", ""),
    ("if not self.is_open: return None", "", ""),
    ("x = foo(bar, baz)", "foo", ""),
    ("return [f(x) for x in xs]", "", ""),
    ("from flask import Flask, request", "", ""),
    ("import numpy as np", "", ""),
    ("@app.route('/login', methods=['POST'])", "app.route", ""),
    ("raise PoolError('closed')", "poolerror", ""),
    ("with open(path) as file:", "open", ""),
    ("const add = (a, b) => a + b;", "", ""),
    ("export default function App() {", "app", "function"),
    ("const [state, setState] = useState(null)", "usestate", ""),
    ("document.getElementById('x')", "document.getelementbyid", ""),
    ("import { useState } from 'react'", "usestate", ""),
    ("interface Props extends Base {", "props", "interface"),
    ("await fetch(url).then(r => r.json())", "fetch", ""),
    ("func (p *Pool) Close() error {", "close", "function"),
    ("if err != nil { return err }", "", ""),
    ("go func() { ch <- 1 }()", "", ""),
    ("type Pool struct {", "pool", "type"),
    ("pub fn new(size: usize) -> Self {", "new", "function"),
    ("let mut v = Vec::new();", "vec.new", ""),
    ("impl Iterator for Pool {", "", ""),
    ("match x { Some(v) => v, None => 0 }", "", ""),
    ("public static void main(String[] args) {", "main", ""),
    ("List<String> names = new ArrayList<>();", "", ""),
    ("private final Logger log = LoggerFactory.getLogger(Foo.class);", "loggerfactory.getlogger", ""),
    ("for (int i = 0; i < n; i++) {", "", ""),
    ("#include <stdio.h>", "", ""),
    ("std::cout << x << std::endl;", "std.cout", ""),
    ("int *p = malloc(sizeof(int));", "malloc", ""),
    ("node->next = head;", "node.next", ""),
    ("var items = list.Where(x => x.Id == id).ToList();", "list.where", ""),
    ("using System.Linq;", "system.linq", ""),
    ("total = items.sum { |i| i.price }", "", ""),
    ("items.each do |item| puts item end", "items.each", ""),
    ("$user = User::find($id);", "user.find", ""),
    ("<?php echo $this->name; ?>", "name", ""),
    ("SELECT name FROM users WHERE id = 1", "", ""),
    ('<div className="pool">', "classname", ""),
    ("fun close(): Unit {", "close", "function"),
    ("if (x == null) return;", "", ""),
    ("i += 1", "", ""),
    ("foo(bar)", "foo", ""),
    ("os.path.join(a, b)", "os.path.join", ""),
    ("x = 5", "", ""),
    ("self.pool = None", "pool", ""),
    ("timeout: int = 30", "", ""),
    ("let total = 0", "", ""),
    ("require('fs')", "", ""),
    ("if (!user) throw new NotFound(id)", "", ""),
    ("class Pool extends Base {", "pool", "class"),
    ("where('id', $id)->first()", "", ""),
]

WORDS = [
    ("how do we retry a failed request", (), "", ()),
    ("where is parse_args called", ("parse_args",), "", ()),
    ("retry backoff", (), "", ()),
    ("authentication flow", (), "", ()),
    ("what does foo() do?", ("foo",), "", ()),
    ("what does Pool.close do when it is called twice", ("pool.close",), "", ()),
    ("difference between HttpClient and http_client", ("httpclient", "http_client"), "", ()),
    ("how does the class Pool hand out connections", ("pool",), "class", ()),
    ("when is the Pool class closed", ("pool",), "class", ()),
    ("which function handles requests", (), "", ()),
    ("class hierarchy", (), "", ()),
    ("method resolution order", (), "", ()),
    ("base class for views", (), "", ()),
    ("hash function", (), "", ()),
    ("type checking", (), "", ()),
    ("function that parses arguments", (), "", ()),
    ("the close method is slow", (), "", ()),
    ("where is authentication implemented", (), "", ()),
    ("how do JavaScript and TypeScript differ on GitHub", (), "", ()),
    ("APIs and URLs of the server", (), "", ()),
    ("e.g. the first one i.e. the default", (), "", ()),
    ("upgrade to v1.2.3 or 3.14", (), "", ()),
    ("see example.com for more", (), "", ()),
    ("how is Node.js started", (), "", ()),
    ("read/write lock and client/server", (), "", ()),
    ("what is in src/app.py", (), "", ("src/app.py",)),
    ("why does app.py:12 fail", (), "", ("app.py",)),
    ("crash at src/foo/bar.go:88", (), "", ("src/foo/bar.go",)),
    ("what do lines app.py:12-30 do", (), "", ("app.py",)),
    ("how is src\\pool\\close.cs used", (), "", ("src/pool/close.cs",)),
    ("close in pool.py and http/server.go", (), "", ("pool.py", "http/server.go")),
    ("open http://localhost:8000/docs.html in a browser", (), "", ()),
    ("GET /v1/search route", (), "", ()),
    ("how does `close` release the lock", ("close",), "", ()),
    ("`src/pool.py` and `Pool`", ("pool",), "", ("src/pool.py",)),
    ("setting MAX_LIMIT from the environment", ("max_limit",), "", ()),
    ("std::vector versus std::list", ("std.vector", "std.list"), "", ()),
    ("what calls $this->close()", ("close",), "", ()),
    ("how to handle connection refused", (), "", ()),
    ("how are errors logged", (), "", ()),
    ("ERROR handling in the parser", (), "", ()),
    ("error handling", (), "", ()),
    ("file(s) and method(s) to change", (), "", ()),
    ("if the user is not found, return 404", (), "", ()),
    ("invalid path handling", (), "", ()),
    ("is it thread-safe?", (), "", ()),
    ("함수를 닫는 방법", (), "", ()),
    ("parse_args를 어디서 부르나요", ("parse_args",), "", ()),
    ("Pool 클래스의 연결은 언제 닫히나", ("pool",), "class", ()),
    ("연결 풀은 src/pool.py 어디서 닫히나요?", (), "", ("src/pool.py",)),
    ("템플릿 폴더를 찾는 코드", (), "", ()),
    ("what", (), "", ()),
    ("fix the length of the payload for FormData uploads;", ("formdata",), "", ()),
    ("transform list into a heap, in-place, in O(len(x)) time", ("o", "len"), "", ()),
    ("why can nobody call `new Statement()` directly", ("statement",), "", ()),
    ("bytes like \\x00\\x01 at the beginning", (), "", ()),
    ("visitor asks for /users/ but only /users is there", (), "", ()),
    ("gzip encoded data -> plain data", (), "", ()),
    ("accept YAML documents in a POST", (), "", ()),
    ("import cycle detection", (), "", ()),
    ("require authentication for admin routes", (), "", ()),
    ("let users upload files", (), "", ()),
    ("return error codes from the parser", (), "", ()),
    ("for each request: log the user", (), "", ()),
    ("with a timeout (default 30) and retries", (), "", ()),
    ("what does foo(bar, baz) return; and why?", ("foo",), "", ()),
    ("handler that is called when name == value", (), "", ()),
    ("delete user; then redirect to the login page", (), "", ()),
    ("yield control to the event loop", (), "", ()),
    ("create table of contents", (), "", ()),
    ("c++ templates", (), "", ()),
    ("the list of the users; and their roles", (), "", ()),
    ("how to use async/await with (nested) generators?", (), "", ()),
]


CLASSES = [
    ("how do I add a converter", {"docs"}),
    ("which option limits the pool", {"docs"}),
    ("enable compression of answers", {"docs"}),
    ("how does a request find its handler", set()),
    ("which class holds the pool", set()),
    ("the test of the pool", {"test"}),
    ("which fixtures make the client", {"test"}),
    ("TestPool", {"test"}),
    ("test_close", {"test"}),
    ("latest attestation", set()),
    ("accept YAML documents", set()),
    ("how is it documented", {"docs"}),
    ("example of a tutorial in the README", {"example", "docs"}),
    ("the vendored copy that is deprecated", {"vendored", "deprecated"}),
    ("code generated by protoc", {"generated"}),
    ("풀의 테스트와 예제", {"test", "example"}),
    ("ValueError: the test failed", set()),
]


@pytest.mark.parametrize(("text", "classes"), CLASSES)
def test_classes_of_files_are_asked_for_by_their_words(text: str, classes: set[str]) -> None:
    assert understood(text).classes == classes


@pytest.mark.parametrize(("text", "name", "kind"), SYMBOLS)
def test_a_name_is_a_symbol(text: str, name: str, kind: str) -> None:
    read = understood(text)
    assert (read.kind, read.names, read.wanted_kind) == (QueryKind.SYMBOL, (name,), kind)
    assert read.text == text.strip()


@pytest.mark.parametrize(("text", "paths"), PATHS)
def test_a_path_is_a_path(text: str, paths: tuple[str, ...]) -> None:
    read = understood(text)
    assert (read.kind, read.paths) == (QueryKind.PATH, paths)


@pytest.mark.parametrize(("text", "message"), ERRORS)
def test_an_error_or_a_log_line_is_an_error_and_says_its_message(text: str, message: str) -> None:
    read = understood(text)
    assert (read.kind, read.message) == (QueryKind.ERROR, message)
    assert read.classes == frozenset()


@pytest.mark.parametrize(
    ("text", "names", "paths"),
    [
        (
            TRACEBACK,
            ("run", "close", "pool.close", "poolerror", "app.errors.poolerror"),
            ("srv/app/main.py", "srv/app/pool.py"),
        ),
        (CHAINED, ("f", "g", "keyerror", "runtimeerror"), ("a.py",)),
        (NODE, ("pool.take",), ("srv/app/pool.js", "srv/app/index.js")),
        (GO, ("main.main",), ("tmp/main.go",)),
        (RUST, ("rust_backtrace",), ("src/main.rs",)),
        (CSHARP, ("shop.cart.add",), ("src/Cart.cs",)),
        (RUBY, ("total",), ("app.rb",)),
        ("TypeError: x is not a function at foo (a.js:3:4)", ("foo", "typeerror"), ("a.js",)),
        ("main.c:3:5: error: unknown type name 'foo'", (), ("main.c",)),
    ],
)
def test_an_error_names_the_functions_and_files_of_its_stack(
    text: str, names: tuple[str, ...], paths: tuple[str, ...]
) -> None:
    read = understood(text)
    assert set(names) <= set(read.names)
    assert read.paths == paths


@pytest.mark.parametrize(("text", "name", "kind"), CODE)
def test_a_line_of_code_is_code(text: str, name: str, kind: str) -> None:
    read = understood(text)
    assert (read.kind, read.wanted_kind) == (QueryKind.CODE, kind)
    assert name in ("", *read.names)


@pytest.mark.parametrize(("text", "names", "kind", "paths"), WORDS)
def test_words_are_words_whatever_they_speak_of(
    text: str, names: tuple[str, ...], kind: str, paths: tuple[str, ...]
) -> None:
    read = understood(text)
    assert (read.kind, read.names, read.wanted_kind, read.paths) == (QueryKind.WORDS, names, kind, paths)


@pytest.mark.parametrize("text", [text for text, *_ in [*SYMBOLS, *PATHS, *ERRORS, *CODE, *WORDS]])
def test_without_filters_all_of_a_query_is_searched(text: str) -> None:
    read = understood(text)
    assert read.text in (text.strip(), text.strip('"'))
    assert read.filters == Filters()


# An honest question of three lines, and texts that make a careless pattern try again and again.
QUESTION = (
    "how does the connection pool of the HTTP client decide which connection is reused when several requests to one "
    "host wait, and where are the idle ones closed after the timeout that settings.idle_timeout_s gives in "
    "src/pool/idle.py; does Pool.close() wait for those which are still used by streams of HTTP/2 or not"
)
HOSTILE = [
    *(
        "a",
        "a.",
        "a::",
        "a_",
        "a(",
        "(",
        "f(a(b)",
        "[",
        "<",
        "<a ",
        "a<b,",
        '"',
        ' "a',
        "`",
        "`a",
        "'",
        "/",
        "a/",
        "\\",
        "$",
        "#",
    ),
    *(
        " ",
        "\n",
        "\t\n",
        "1:",
        "a-",
        ".py",
        "가",
        "Error",
        "Error: ",
        "at a(",
        " at x:1",
        " in x",
        'File "',
        'msg="\\',
        "[Errno 1] ",
    ),
    *(
        "path:",
        "path:a ",
        '"path:a" ',
        "class ",
        "the class of ",
        "SELECT a ",
        "import {",
        "if (",
        "if x[ ",
        "for x in (\n",
    ),
    *("public ", "expected ", "cannot open ", "out of range ", "Caused by: ", "2024-01-02 03:04:05 ", "[a] ", "A::B: "),
]


def cpu_s(text: str) -> float:
    """The best of five, in CPU seconds."""
    took = []
    for _ in range(5):
        started = time.process_time()
        understood(text)
        took.append(time.process_time() - started)
    return min(took)


def test_a_question_is_understood_in_a_fraction_of_a_millisecond() -> None:
    understood(QUESTION)
    assert cpu_s(QUESTION) < 0.001  # measured .0001


@pytest.mark.parametrize("piece", HOSTILE)
def test_no_text_makes_understanding_slow(piece: str) -> None:
    text = "x" + piece * (20_000 // len(piece)) + "y"
    assert cpu_s(text) < 0.15  # measured at most .012
