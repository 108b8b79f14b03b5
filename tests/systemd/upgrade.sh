set -eu
fail() { echo "CHECK: $*"; exit 1; }
show() { systemctl show "$UNIT" -p "$1" --value; }
[ "$(show FragmentPath)" = /usr/lib/systemd/system/authdrift.service ] || [ "$(show FragmentPath)" = /lib/systemd/system/authdrift.service ] \
  || fail "another unit: $(show FragmentPath)"
systemctl -q enable --now authdrift-watch.timer
systemctl -q enable authdrift.service
for _ in $(seq 50); do [ -s /var/lib/authdrift/authdrift.db ] && break; sleep 0.1; done

# An upgrade goes on with the new program, the same state, and what the operator changed.
echo '# mine' >> /etc/authdrift/config.example.toml
main=$(show MainPID)
dpkg -i /opt/2.deb || fail "upgrade: $?"
[ "$(dpkg-query -W -f '${Version}' authdrift | sed 's/.*-//')" = 2 ] || fail "not upgraded"
[ "$(show ActiveState):$(show Result)" = active:success ] || fail "after the upgrade: $(show ActiveState)"
[ "$(show MainPID)" != "$main" ] || fail "the old program goes on"
[ "$(systemctl is-active authdrift-watch.timer)" = active ] || fail "the watch stopped"
tail -n 1 /etc/authdrift/config.example.toml | grep -qx '# mine' || fail "a change of the operator is lost"
[ "$(stat -c %a:%U:%G /etc/authdrift/config.example.toml)" = 640:root:authdrift ] || fail "mode after the upgrade"

# Removed, it is gone and its state is not.
dpkg -r authdrift || fail "removal: $?"
[ "$(systemctl is-active authdrift.service)" != active ] || fail "it still runs"
[ "$(systemctl is-active authdrift-watch.timer)" != active ] || fail "its watch still runs"
[ -e /usr/bin/authdrift ] && fail "the program is still there"
[ -s /var/lib/authdrift/authdrift.db ] && [ -s /etc/authdrift/config.toml ] || fail "state or configuration is gone"

# Purged, there is nothing left but the user.
dpkg -P authdrift || fail "purge: $?"
left=$(find /etc /usr /var -xdev -name '*authdrift*' \
  -not -path '/usr/share/doc*' -not -path '*/boot-test/*' | head)
[ -z "$left" ] || fail "left behind: $left"
id authdrift >/dev/null || fail "the number of the user may be given to somebody else"
echo "CHECK: all good"
