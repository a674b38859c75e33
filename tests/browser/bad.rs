//! A page on which everything is wrong that a look may find.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

const STYLE: &str = ".broad { width: 400px } .pale { color: #ccc; background: #fff }";

/// Serves it, with the policy of the console or without; its address.
pub fn serve(policy: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| _ = answer(stream, policy)));
    base
}

fn answer(mut stream: TcpStream, policy: bool) -> std::io::Result<()> {
    let mut head = [0; 4096];
    let n = stream.read(&mut head)?;
    let (kind, body) = match head.get(..n).is_some_and(|head| head.starts_with(b"GET /style.css")) {
        true => ("text/css", STYLE.to_owned()),
        false => ("text/html", page()),
    };
    let policy = if policy { "Content-Security-Policy: default-src 'self'\r\n" } else { "" };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}; charset=utf-8\r\nConnection: close\r\nContent-Length: {length}\r\n{policy}\r\n{body}"
    )
}

fn page() -> String {
    let turn = '\u{202e}';
    let many = "<!-- many -->".repeat(20_000);
    format!(
        "<!doctype html><html><head><title>bad</title><meta name=viewport content='width=device-width'><link rel=stylesheet href=/style.css></head>\
         <body onload='window.owned=1'><h1>One</h1><h1>Two</h1><h4 id=a>Deep</h4><p id=a class=pale>pale {turn}turned</p>\
         <script>window.owned=1</script><img src=http://evil.example.com/x alt=''><a href='javascript:window.owned=1'></a>\
         <input><div class=broad>broad</div>{many}</body></html>"
    )
}
