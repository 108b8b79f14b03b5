fail() { echo "INSTALL: $*"; exit 1; }
# The unit of the package, not the copy that the tool brings.
rm /etc/systemd/system/authdrift.service
rm -f /var/lib/man-db/auto-update   # an index of the whole manual takes a minute
dpkg -i /opt/1.deb
dpkg -V authdrift || fail "a file is not as it was packed"
id authdrift >/dev/null || fail "no user"
[ "$(systemctl is-active authdrift)" = inactive ] || fail "it was started without being asked"
[ "$(systemctl is-enabled authdrift)" = disabled ] || fail "it was enabled without being asked"
for file in config.toml config.example.toml; do
  [ "$(stat -c %a:%U:%G /etc/authdrift/$file)" = 640:root:authdrift ] || fail "$file is $(stat -c %a:%U:%G /etc/authdrift/$file)"
done
[ "$(stat -c %a:%U /etc/authdrift/credentials)" = 700:root ] || fail "others can see credentials"
[ "$(stat -c %a:%U /var/lib/authdrift)" = 700:authdrift ] || fail "others can see the state"
zcat /usr/share/man/man1/authdrift.1.gz | grep -q '^.TH authdrift 1' || fail "no manual"
for page in run reload stale approve; do [ -s /usr/share/man/man1/authdrift-$page.1.gz ] || fail "no manual of $page"; done
bash -n /usr/share/bash-completion/completions/authdrift || fail "no completions"
for file in baselines/clerk.toml drop-ins/root-directory.conf; do [ -s /usr/share/authdrift/$file ] || fail "no $file"; done
[ -s /usr/share/doc/authdrift/docs/operations.md ] || fail "no documents"
HOME=/root authdrift --config /etc/authdrift/config.toml config check >/dev/null || fail "config check: $?"
