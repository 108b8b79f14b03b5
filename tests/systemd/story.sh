# What an operator sees of the service, from the first reading to a configuration that is wrong. Run as root inside.
set -eu
fail() { echo "CHECK: $*"; cat /run/peer/told 2>/dev/null; exit 1; }
show() { systemctl show "$UNIT" -p "$1" --value; }
until_status() { # PATTERN
  for _ in $(seq 100); do case "$(show StatusText)" in $1) return;; esac; sleep 0.1; done
  fail "STATUS is '$(show StatusText)', not '$1'"
}
told() { # COUNT PATTERN
  for _ in $(seq 200); do [ "$(grep -c "$2" /run/peer/told)" = "$1" ] && return; sleep 0.1; done
  fail "not $1 of '$2'"
}
as_authdrift() { setpriv --reuid authdrift --regid authdrift --clear-groups env HOME=/tmp/home \
  STATE_DIRECTORY=/var/lib/authdrift /usr/bin/authdrift --config /etc/authdrift/config.toml "$@"; }
config=/etc/authdrift/config.toml

# HTTPS by a certificate of an authority of this machine: the first reading is whole.
until_status 'clerk:prod no baseline*; 0 open; outbox 0'
[ "$(stat -c %a:%U /var/lib/authdrift/authdrift.db)" = 600:authdrift ] || fail "database is not private"
[ "$(stat -c %a /var/lib/authdrift)" = 700 ] || fail "state folder is not private"
as_authdrift approve prod --reason test --all --accept-weaker --key /tmp/home/key >/dev/null || fail "approve: $?"

# Whoever is in its group may ask it how it is, and nobody else.
[ "$(stat -c %a:%U:%G /run/authdrift)" = 750:authdrift:authdrift ] || fail "the folder of the socket"
ready() { setpriv --reuid nobody --regid "$1" --clear-groups /usr/bin/python3 -I -c '
import socket
asked = socket.socket(socket.AF_UNIX)
asked.connect("/run/authdrift/monitoring.sock")
asked.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
raise SystemExit(0 if asked.recv(99).split()[1] == b"200" else "not ready")'; }
if [ -x /usr/bin/python3 ]; then
  ready authdrift || fail "the socket does not answer"
  ready nogroup 2>/dev/null && fail "everybody may use the socket"
fi

# A reload: the time of the next cycle was a year away, and is now.
main=$(show MainPID)
touch /run/peer/drift
sed -i 's/^cron = .*/cron = "* * * * *"/' $config
systemctl reload "$UNIT" || fail "reload: $?"
until_status 'clerk:prod drift *; 1 open; outbox *'
told 1 '^mail .*drift'
told 1 '^webhook "drift.opened"'

# One that is refused leaves everything as it is, and says why.
cp $config /run/good.toml
echo 'nonsense = 1' >> $config
systemctl reload "$UNIT" && fail "a reload that was refused succeeded"
until_status 'reload refused: *nonsense*'
case "$(show StatusText)" in *"; clerk:prod drift "*) ;; *) fail "STATUS does not go on: $(show StatusText)";; esac
[ "$(show MainPID):$(show ActiveState):$(show NRestarts)" = "$main:active:0" ] || fail "another daemon"
cp /run/good.toml $config
systemctl reload "$UNIT" || fail "reload: $?"
until_status 'clerk:prod drift *'

# The watch finds nothing to say; when the daemon is dead for long enough, it tells people by itself.
systemctl start authdrift-watch.service || fail "the watch: $?"
systemctl stop "$UNIT"
[ "$(show Result):$(show ExecMainStatus)" = success:0 ] || fail "stop: $(show Result) $(show ExecMainStatus)"
[ ! -s /var/lib/authdrift/authdrift.db-wal ] || fail "the log was not written back"
mkdir -p /etc/systemd/system/authdrift-watch.service.d
printf '[Service]\nExecStart=\nExecStart=/usr/bin/authdrift stale --tell --after 1ms --again-after 1ms\n' \
  > /etc/systemd/system/authdrift-watch.service.d/now.conf
systemctl daemon-reload
systemctl start authdrift-watch.service && fail "the watch takes a dead daemon for alive"
[ "$(systemctl show authdrift-watch -p ExecMainStatus --value)" = 69 ] || fail "the watch ended otherwise"
told 1 '^mail .*not read'
told 1 '^webhook "instance.unread"'

# A wrong configuration is not tried again.
echo 'nonsense = 1' >> $config
systemctl start "$UNIT" && fail "started with a wrong configuration"
[ "$(show ExecMainStatus):$(show NRestarts)" = 78:0 ] || fail "bad config: $(show ExecMainStatus) $(show NRestarts)"
sleep 0.5
case "$(show SubState)" in *auto-restart*) fail "is restarted";; esac
journalctl --no-pager -u "$UNIT" -o cat | grep -q "nonsense" || fail "the journal does not name the mistake"
journalctl --no-pager -o cat | grep -q CANARY && fail "a secret is in the journal"
echo "CHECK: all good"
