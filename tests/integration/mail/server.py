"""A mail server that is not ours (aiosmtpd), and a reader of mails that is not ours (Python's email).

Usage: server.py MODE CERTIFICATE KEY    MODE: implicit, starttls or stripped (offers neither STARTTLS nor a login)

Prints "port N", then one JSON object per line for every mail, and one for every command that came.
"""

import asyncio
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


def say(what):
    print(json.dumps(what), flush=True)


class Mailbox:
    async def handle_MAIL(self, server, session, envelope, address, options):
        say({"command": "MAIL", "tls": session.ssl is not None or MODE == "implicit"})
        envelope.mail_from = address
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.original_content, policy=email.policy.default)
        bodies = {part.get_content_type(): part.get_content() for part in mail.walk() if not part.is_multipart()}
        defects = [str(defect) for part in mail.walk() for defect in part.defects]
        say({
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "tls": session.ssl is not None or MODE == "implicit",
            "login": bool(session.authenticated),
            "headers": [[name, str(value)] for name, value in mail.items()],
            "order": [part.get_content_type() for part in mail.walk()],
            "text": bodies.get("text/plain"),
            "html": bodies.get("text/html"),
            "longest_line": max(len(line) for line in envelope.original_content.split(b"\r\n")),
            "defects": defects,
        })
        return "250 kept"


def authenticate(server, session, envelope, mechanism, data):
    good = isinstance(data, LoginPassword) and data.login == b"authdrift" and data.password == b"relay-password"
    say({"command": "AUTH", "good": good})
    # Who is not let in hears it: 535.
    return AuthResult(success=good, handled=good)


async def main(certificate, key):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    def conversation():
        if MODE == "stripped":
            return SMTP(Mailbox(), hostname="localhost")
        secured = {"authenticator": authenticate, "auth_required": True}
        if MODE == "starttls":
            return SMTP(Mailbox(), hostname="localhost", tls_context=context, require_starttls=True, **secured)
        return SMTP(Mailbox(), hostname="localhost", auth_require_tls=False, **secured)

    server = await asyncio.get_running_loop().create_server(
        conversation, "127.0.0.1", 0, ssl=context if MODE == "implicit" else None
    )
    print(f"port {server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


MODE = sys.argv[1]
asyncio.run(main(sys.argv[2], sys.argv[3]))
