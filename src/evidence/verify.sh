#!/bin/sh
# Checks exported baselines without authdrift: sh, jq, sha256sum and ssh-keygen are all it takes.
#
#   sh verify.sh [-t THRESHOLD] [-s SEQUENCE] [-k ALLOWED_SIGNERS] [-r REVOKED_KEYS] [-i INSTANCE] [DIR]
#
#   -t  how many different people the newest baseline needs (1). Older ones only have to be signed: the newest names them all
#   -s  the highest sequence you have seen before: a folder that ends earlier was rolled back
#   -k  who may approve (DIR/allowed_signers). Bring your own copy: the one in the folder came with the folder
#   -r  keys that count for nobody, whatever they signed (DIR/revoked_keys, if it is there)
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
for number in "$threshold" "$seen"; do
  case $number in *[!0-9]* | '') usage ;; esac
done
dir=${1:-$(dirname "$0")}
[ -n "$signers" ] || signers=$dir/allowed_signers
[ -n "$revoked" ] || { [ -e "$dir/revoked_keys" ] && revoked=$dir/revoked_keys; }
for tool in jq sha256sum ssh-keygen; do
  command -v "$tool" >/dev/null || { echo "cannot check: '$tool' is not here" >&2; exit 2; }
done
[ -r "$signers" ] || { echo "cannot check: no allowed signers at '$signers'" >&2; exit 2; }
[ -z "$revoked" ] || [ -r "$revoked" ] || { echo "cannot check: no revoked keys at '$revoked'" >&2; exit 2; }
[ -d "$dir/statements" ] || { echo "cannot check: no folder '$dir/statements'" >&2; exit 2; }

work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
faults=0
fault() { printf 'FAULT  %s\n' "$(printf %s "$*" | tr -cd '[:print:]')"; faults=$((faults + 1)); }
digest() { printf 'sha256:'; sha256sum | cut -d' ' -f1; }
is_file() { [ -f "$1" ] && [ ! -L "$1" ]; }

# Who is one person: names that share a key, or are the same but for capitals. A list of groups of names.
jq -Rn '[inputs | sub("^[ \t]+"; "") | select(length > 0 and (startswith("#") | not))
    | {names: (sub("[ \t].*"; "") | ascii_downcase | split(",")),
       keys: [(capture("[ \t](?<key>(sk-)?(ssh|ecdsa)-[a-z0-9@.-]+[ \t]+[A-Za-z0-9+/=]+)").key | gsub("[ \t]+"; " "))]}]
  | if all(.[].names[]; test("^[!-~]+$") and (test("[*?!\"\\\\]") | not)) | not then error("odd name") else . end
  | reduce .[] as $line ([];
      def is_same: any(.names[]; . as $name | $line.names | index([$name])) or any(.keys[]; . as $key | $line.keys | index([$key]));
      [.[] | select(is_same | not)] + [{names: ([.[] | select(is_same) | .names[]] + $line.names),
                                        keys: ([.[] | select(is_same) | .keys[]] + $line.keys)}])
  | map(.names | sort)' <"$signers" >"$work/persons" 2>/dev/null ||
  fault "allowed signers: a name in it is a pattern, or has characters that cannot be seen or told apart"
person_of() { jq -r --arg name "$1" 'map(select(index([$name | ascii_downcase])))[0][0] // $name' "$work/persons" 2>/dev/null; }

# The form of a statement: these fields and no others, as docs/baseline.md has them.
form='def text: type == "string" and (test("[\u0000-\u001f\u007f-\u009f]") | not);
  def digest: type == "string" and test("^sha256:[0-9a-f]{64}$");
  def number: type == "number" and . == floor and . >= 1 and . <= 9007199254740991;
  def time: type == "string" and test("^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$") and (fromdate | type == "number");
  def section: (keys == ["state"] and (.state | IN("off", "not_on_plan", "not_permitted", "unreachable", "suspect")))
    or (keys == ["digest", "state"] and .state == "value" and (.digest | digest));
  length == 1 and (.[0]
    | keys == ["approval", "subject", "type"] and .type == "authdrift/baseline/v1"
    and (.approval | keys == ["approver", "at", "reason"] and (.approver | text) and (.reason | text) and (.at | time))
    and (.subject
      | (keys - ["until"]) == ["instance", "log", "previous", "proposer", "resource", "sections", "sequence", "snapshot"]
      and (.instance | text) and (.proposer | text) and (.resource | text) and (.sequence | number) and (.snapshot | digest)
      and (.log | keys == ["head", "size"] and (.head | digest) and (.size | type == "number" and . == floor and . >= 0))
      and (.previous == null or (.previous | digest))
      and (.sections | all(to_entries[]; (.key | test("^[!-~]+$")) and (.value | section)))
      and (.sections as $sections | (.until // {"": null}) | to_entries
        | all(.[]; .key == "" or ((.value | time) and (.key | text)
          and $sections[.key | split("/")[1] | gsub("~1"; "/") | gsub("~0"; "~")].state == "value")))))'

# One statement: its form, its signature, its place. Leaves its subject's digest in $subject and its signer in $who.
check() {
  file=$1 name=${1##*/}
  is_file "$file.sig" || { fault "$name: its signature is missing"; return 1; }
  [ "$(jq -cjS . "$file" 2>/dev/null | digest)" = "$(digest <"$file")" ] || { fault "$name: not canonical: it is not what was signed"; return 1; }
  jq -es "$form" "$file" >/dev/null 2>&1 || { fault "$name: not a baseline statement"; return 1; }
  who=$(jq -r .approval.approver "$file")
  at=$(jq -r '.approval.at | fromdate | strftime("%Y%m%d%H%M%SZ")' "$file" 2>/dev/null) || { fault "$name: no time"; return 1; }
  set -- -Y verify -q -f "$signers" -n "$namespace" -I "$who" -O verify-time="$at" -s "$file.sig"
  ssh-keygen "$@" <"$file" >"$work/said" 2>&1 || { fault "$name: signature refused: $(tail -n 1 "$work/said")"; return 1; }
  [ "$(jq -r .subject.sequence "$file")" = "$number" ] || { fault "$name: it has another sequence"; return 1; }
  [ "$(jq -r .subject.previous "$file")" = "$previous" ] || { fault "$name: broken link: it does not follow baseline $((number - 1))"; return 1; }
  [ "$(jq -r .subject.instance "$file")" = "$instance" ] || { fault "$name: it is about another instance"; return 1; }
  subject=$(jq -cjS .subject "$file" | digest)
  [ "$(jq -cjS '.subject | {instance, resource, sections}' "$file" | digest)" = "$(jq -r .subject.snapshot "$file")" ] ||
    { fault "$name: its sections are not its snapshot"; return 1; }
  counts=yes
  if [ -n "$revoked" ] && ! ssh-keygen "$@" -r "$revoked" <"$file" >/dev/null 2>&1; then
    counts=no
    printf 'note   %s: its key is revoked, so it does not count\n' "$name"
  fi
}

[ -n "$instance" ] || instance=$(jq -r .subject.instance "$dir/statements/1-1.json" 2>/dev/null)
number=1 previous=null
while [ -e "$dir/statements/$number-1.json" ]; do
  agreed='' place=1
  : >"$work/people"
  : >"$work/counted"
  while statement=$dir/statements/$number-$place.json && [ -e "$statement" ]; do
    place=$((place + 1))
    check "$statement" || continue
    if [ -n "$agreed" ] && [ "$agreed" != "$subject" ]; then
      fault "${statement##*/}: it approves something else than the others at sequence $number"
      continue
    fi
    agreed=$subject
    printf '%s\n' "$who" >>"$work/people"
    [ "$counts" = no ] || person_of "$who" >>"$work/counted"
    jq -r '.subject.sections | to_entries[] | select(.value.digest) | "\(.value.digest) \(.key)"' "$statement" >>"$work/documents"
  done
  last=$((place - 1))
  people=$(sort -u "$work/counted" | wc -l)
  [ -n "$agreed" ] && printf 'ok     baseline %s, approved by %s\n' "$number" "$(sort -u "$work/people" | tr '\n' ' ')"
  printf '%s %s\n' "$number" "$last" >>"$work/numbers"
  previous=${agreed:-missing} number=$((number + 1))
done
newest=$((number - 1))
if [ "$newest" -lt 1 ]; then
  fault "there is no baseline"
elif [ "$people" -lt "$threshold" ]; then
  fault "baseline $newest: $((people)) of $threshold approvers"
fi
[ "$newest" -ge "$seen" ] || fault "ROLLBACK: the newest baseline is $newest, and $seen was seen before"

# The settings themselves: every baseline has all of its documents, and each is what its name says.
: >>"$work/documents"
: >"$work/list"
sort -u "$work/documents" >"$work/sorted"
while read -r wanted section; do
  name=${wanted#sha256:}
  [ ! -e "$work/named-$name" ] || continue
  printf '%s\n' "$section" >"$work/named-$name"
  if is_file "$dir/documents/$name.json"; then
    printf '%s  %s.json\n' "$name" "$name" >>"$work/list"
  else
    fault "section $section: its document is missing"
  fi
done <"$work/sorted"
[ ! -s "$work/list" ] || (cd "$dir/documents" && sha256sum -c "$work/list") >"$work/checked" 2>/dev/null
: >>"$work/checked"
documents=0
while read -r name said; do
  case $name in *.json:) name=${name%.json:} ;; *) continue ;; esac
  if [ "$said" = OK ]; then
    documents=$((documents + 1))
  else
    fault "section $(cat "$work/named-$name"): its document was changed"
  fi
done <"$work/checked"
printf 'ok     %s documents of %s baselines\n' "$documents" "$newest"

# Nothing else is in the folder: what was not checked could be taken for checked.
: >>"$work/numbers"
is_statement() {
  case $1 in *[!0-9-]* | -* | *- | *-*-* | 0* | *-0*) return 1 ;; *-*) ;; *) return 1 ;; esac
  while read -r number last; do
    [ "${1%-*}" != "$number" ] || [ "${1#*-}" -gt "$last" ] || return 0
  done <"$work/numbers"
  return 1
}
for file in "$dir"/* "$dir"/.[!.]* "$dir"/..?* "$dir"/*/* "$dir"/*/.[!.]* "$dir"/*/..?*; do
  [ -e "$file" ] || [ -L "$file" ] || continue
  path=${file#"$dir"/}
  case $path in
    statements | documents)
      if [ -d "$file" ] && [ ! -L "$file" ]; then continue; fi ;;
    README.txt | verify.sh | allowed_signers | revoked_keys)
      if is_file "$file"; then continue; fi ;;
    documents/*.json)
      name=${path#documents/}
      if is_file "$file" && [ -e "$work/named-${name%.json}" ]; then continue; fi ;;
    statements/*.json | statements/*.json.sig)
      name=${path#statements/} name=${name%.sig}
      if is_file "$file" && is_statement "${name%.json}"; then continue; fi
      if is_file "$file"; then fault "${path#statements/}: a baseline or a statement before it is missing, or it is of none"; continue; fi ;;
  esac
  fault "$path: nothing names this file"
done

case $faults in
  0) echo "everything holds" ;;
  1) echo "1 fault"; exit 1 ;;
  *) echo "$faults faults"; exit 1 ;;
esac
