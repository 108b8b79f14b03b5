# Types the blocks of docs/install.md, and looks at what a new operator would see after each. Run as root inside.
set -eu
fail() { echo "CHECK: $*"; cat /run/peer/told 2>/dev/null; journalctl --no-pager -u authdrift -o cat | tail -20; exit 1; }
show() { systemctl show authdrift -p "$1" --value; }
until_status() { # PATTERN
  for _ in $(seq 200); do case "$(show StatusText)" in $1) return;; esac; sleep 0.1; done
  fail "STATUS is '$(show StatusText)', not '$1'"
}
told() { # COUNT PATTERN
  for _ in $(seq 200); do [ "$(grep -c "$2" /run/peer/told)" = "$1" ] && return; sleep 0.1; done
  fail "not $1 of '$2'"
}
# Types a block, with what is pasted into it, and asks for its exit code.
type_block() { # BLOCK CODE
  code=0
  echo "--- $1"
  bash -e "/opt/page/$1" || code=$?
  [ "$code" = "$2" ] || fail "block $1 ended with $code: $(cat "/opt/page/$1")"
}
[ ! -e /usr/bin/authdrift ] && [ ! -e /etc/authdrift ] || fail "this machine is not fresh"
# The approver has a machine and a key of their own; the operator has the public half.
mkdir -p -m 700 /root/.ssh /home/alice/.ssh
ssh-keygen -q -t ed25519 -N '' -C alice -f /home/alice/.ssh/id_ed25519
mkdir /root/work
cd /root/work
cp /opt/1.deb authdrift_0.1.0-1_amd64.deb
cp /home/alice/.ssh/id_ed25519.pub alice.pub

type_block 00-operator 0
[ "$(show ActiveState)" = inactive ] || fail "it was started without being asked"
type_block 01-operator 0
type_block 02-operator 0
# A terminal would wait for each secret: here it comes with the command.
for secret in clerk-prod smtp siem; do
  sed -i "s|^install -m 0600 /dev/stdin /etc/authdrift/credentials/$secret\$|& < /opt/secrets/$secret|" /opt/page/03-operator
done
type_block 03-operator 0
type_block 04-operator 0
type_block 05-operator 0
[ "$(show ActiveState)" = active ] || fail "not ready: $(show ActiveState)"
[ "$(systemctl is-active authdrift-watch.timer)" = active ] || fail "the watch does not run"
until_status 'clerk:prod no baseline*; 0 open; outbox 0'
type_block 06-operator 0
type_block 07-operator 0

# The approver sees nothing of the server but the file.
mkdir /home/alice/work
cp prod.json /home/alice/work/
(cd /home/alice/work && HOME=/home/alice type_block 08-approver 0)
cp /home/alice/work/prod.json .
type_block 09-operator 0

# Somebody switches the second factor off at the vendor.
touch /run/peer/mfa
type_block 10-operator 10
told 1 '^mail \[authdrift\] CRITICAL clerk:prod: MFA required at sign-up'
told 1 '^webhook "drift.opened"'
until_status 'clerk:prod drift *; 1 open; outbox 0'
[ "$(show NRestarts)" = 0 ] || fail "it was started again"
journalctl --no-pager -o cat | grep -q CANARY && fail "a secret is in the journal"
systemctl stop authdrift
[ "$(show Result)" = success ] || fail "stop: $(show Result)"
echo "CHECK: all good"
