"""Certificates for the servers that take TLS: a CA, a server's and a client's certificate, good for thirty days."""
import secrets

from files import have, run

# What a client checks is one of these.
NAMES = "DNS:localhost,IP:127.0.0.1"
DAYS = "30"
# `openssl x509` dates nothing back before 3.4; `openssl ca` always did.
BACK = """\
[ca]
default_ca = back
[back]
database = index
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = any
default_startdate = 20200101000000Z
default_enddate = 20200201000000Z
[any]
commonName = supplied
"""


def certificates(folder):
    """ca.pem, server.pem, server.key, client.pem, client.key (PKCS #8) in this folder, made once."""
    if (folder / "client.pem").exists():
        return
    openssl = have("openssl", "openssl", "certificates are made with it")
    folder.mkdir(exist_ok=True)
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    run([openssl, "req", "-x509", *curve, "-days", DAYS, "-subj", "/CN=zentral test CA", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
         "-keyout", folder / "ca.key", "-out", folder / "ca.pem"])
    for who, use in (("server", "serverAuth"), ("client", "clientAuth")):
        (folder / "extensions").write_text("basicConstraints=CA:FALSE\nsubjectAltName=%s\nextendedKeyUsage=%s\n" % (NAMES, use))
        run([openssl, "req", "-new", *curve, "-subj", "/CN=zentral-%s" % who, "-keyout", folder / ("%s.key" % who), "-out", folder / "request"])
        run([openssl, "x509", "-req", "-in", folder / "request", "-CA", folder / "ca.pem", "-CAkey", folder / "ca.key", "-CAcreateserial",
             "-days", DAYS, "-extfile", folder / "extensions", "-out", folder / ("%s.pem" % who)])
        (folder / ("%s.key" % who)).chmod(0o600)


def expired(folder):
    """expired.pem beside the others: the server's certificate as it would be if it had ended in February 2020."""
    openssl = have("openssl", "openssl", "certificates are made with it")
    (folder / "back").write_text(BACK)
    (folder / "index").write_text("")
    (folder / "extensions").write_text("basicConstraints=CA:FALSE\nsubjectAltName=%s\nextendedKeyUsage=serverAuth\n" % NAMES)
    run([openssl, "req", "-new", "-key", "server.key", "-subj", "/CN=zentral-server", "-out", "request"], cwd=folder)
    run([openssl, "ca", "-batch", "-notext", "-config", "back", "-cert", "ca.pem", "-keyfile", "ca.key", "-in", "request",
         "-extfile", "extensions", "-out", "expired.pem"], cwd=folder)


def password(folder):
    """A password, made once, in the file `password`."""
    file = folder / "password"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(16))
    return file.read_text()


def environment(prefix, folder, user):
    """The variables that tell a test how to get in."""
    return {
        prefix + "_CA": folder / "tls/ca.pem",
        prefix + "_CERT": folder / "tls/client.pem",
        prefix + "_KEY": folder / "tls/client.key",
        prefix + "_USER": user,
        prefix + "_PASSWORD_FILE": folder / "password",
    }
