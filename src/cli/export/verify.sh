#!/bin/sh
# Checks exported baselines without authdrift: sh, jq, sha256sum and ssh-keygen are all it takes.
#
#   sh verify.sh [-t THRESHOLD] [-s SEQUENCE] [-k ALLOWED_SIGNERS] [-r REVOKED_KEYS] [-i INSTANCE] [DIR]
#
#   -t  how many different people every baseline needs (1)
#   -s  the highest sequence you have seen before: a folder that ends earlier was rolled back
#   -k  who may approve (DIR/allowed_signers). Bring your own copy: the one in the folder came with the folder
#   -r  keys that are refused whatever they signed (DIR/revoked_keys, if it is there)
#   -i  the instance you expect
#
# Ends with 0 when everything holds, 1 when something does not and says what, 2 when it cannot check.
set -u
LC_ALL=C
export LC_ALL

namespace=baseline.v1@authdrift
threshold=1 seen=0 signers='' revoked='' instance=''
usage() { echo "usage: verify.sh [-t THRESHOLD] [-s SEQUENCE] [-k ALLOWED_SIGNERS] [-r REVOKED_KEYS] [-i INSTANCE] [DIR]" >&2; exit 2; }
while getopts t:s:k:r:i: option; do
  case $option in
    t) threshold=$OPTARG ;; s) seen=$OPTARG ;; k) signers=$OPTARG ;; r) revoked=$OPTARG ;; i) instance=$OPTARG ;; *) usage ;;
  esac
done
shift $((OPTIND - 1))
[ $# -le 1 ] || usage
case $threshold$seen in *[!0-9]* | '') usage ;; esac
dir=${1:-$(dirname "$0")}
[ -n "$signers" ] || signers=$dir/allowed_signers
[ -n "$revoked" ] || { [ -e "$dir/revoked_keys" ] && revoked=$dir/revoked_keys; }
for tool in jq sha256sum ssh-keygen; do
  command -v "$tool" >/dev/null || { echo "cannot check: '$tool' is not here" >&2; exit 2; }
done
[ -r "$signers" ] || { echo "cannot check: no allowed signers at '$signers'" >&2; exit 2; }
[ -d "$dir/statements" ] || { echo "cannot check: no folder '$dir/statements'" >&2; exit 2; }

work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
faults=0
fault() { printf 'FAULT  %s\n' "$*"; faults=$((faults + 1)); }
digest() { printf 'sha256:'; sha256sum | cut -d' ' -f1; }

# One statement: its signature, its form, its place. Leaves its subject's digest in $subject and its signer in $who.
check() {
  file=$1 name=${1##*/}
  [ "$(jq -cjS . "$file" 2>/dev/null | digest)" = "$(digest <"$file")" ] || { fault "$name: not canonical: it is not what was signed"; return 1; }
  [ "$(jq -r .type "$file")" = authdrift/baseline/v1 ] || { fault "$name: not a baseline statement"; return 1; }
  who=$(jq -r .approval.approver "$file")
  at=$(jq -r '.approval.at | fromdate | strftime("%Y%m%d%H%M%SZ")' "$file" 2>/dev/null) || { fault "$name: no time"; return 1; }
  set -- -Y verify -q -f "$signers" -n "$namespace" -I "$who" -O verify-time="$at" -s "$file.sig"
  [ -z "$revoked" ] || set -- "$@" -r "$revoked"
  ssh-keygen "$@" <"$file" >"$work/said" 2>&1 || { fault "$name: signature refused: $(tail -n 1 "$work/said" | tr -cd '[:print:]')"; return 1; }
  [ "$(jq -r .subject.sequence "$file")" = "$number" ] || { fault "$name: it has another sequence"; return 1; }
  [ "$(jq -r .subject.previous "$file")" = "$previous" ] || { fault "$name: broken link: it does not follow baseline $((number - 1))"; return 1; }
  [ "$(jq -r .subject.instance "$file")" = "$instance" ] || { fault "$name: it is about another instance"; return 1; }
  subject=$(jq -cjS .subject "$file" | digest)
  [ "$(jq -cjS '.subject | {instance, resource, sections}' "$file" | digest)" = "$(jq -r .subject.snapshot "$file")" ] ||
    { fault "$name: its sections are not its snapshot"; return 1; }
}

set -- "$dir"/statements/1-*.json
[ -n "$instance" ] || instance=$(jq -r .subject.instance "$1" 2>/dev/null)
number=1 previous=null
while set -- "$dir"/statements/"$number"-*.json && [ -e "$1" ]; do
  agreed='' good=''
  : >"$work/people"
  for statement in "$@"; do
    check "$statement" || continue
    if [ -n "$agreed" ] && [ "$agreed" != "$subject" ]; then
      fault "${statement##*/}: it approves something else than the others at sequence $number"
      continue
    fi
    agreed=$subject good=$statement
    printf '%s\n' "$who" >>"$work/people"
  done
  people=$(sort -u "$work/people" | wc -l)
  if [ "$people" -lt "$threshold" ]; then
    fault "baseline $number: $((people)) of $threshold approvers"
  else
    printf 'ok     baseline %s, approved by %s\n' "$number" "$(sort -u "$work/people" | tr '\n' ' ')"
  fi
  [ -n "$good" ] && newest=$good
  previous=${agreed:-missing} number=$((number + 1))
done
newest_number=$((number - 1))
[ "$newest_number" -ge 1 ] || fault "there is no baseline"
[ "$newest_number" -ge "$seen" ] || fault "ROLLBACK: the newest baseline is $newest_number, and $seen was seen before"
for file in "$dir"/statements/*.json; do
  sequence=${file##*/} sequence=${sequence%%-*}
  [ "$sequence" -le "$newest_number" ] 2>/dev/null || fault "${file##*/}: a baseline before it is missing"
done

# The settings themselves: every document is what its name says, and the newest baseline has all of its own.
if [ -n "${newest:-}" ]; then
  jq -r '.subject.sections | to_entries[] | select(.value.digest) | "\(.value.digest) \(.key)"' "$newest" >"$work/documents"
  while read -r wanted section; do
    file=$dir/documents/${wanted#sha256:}.json
    [ -e "$file" ] || { fault "section $section: its document is missing"; continue; }
    [ "$(digest <"$file")" = "$wanted" ] || fault "section $section: its document was changed"
  done <"$work/documents"
  printf 'ok     %s documents of baseline %s looked at\n' "$(($(wc -l <"$work/documents")))" "$newest_number"
fi

[ "$faults" -eq 0 ] || { echo "$faults faults"; exit 1; }
echo "everything holds"
