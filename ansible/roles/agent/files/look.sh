# Prints what there is on the host, a line each: a name, a tab, and a value.
# Arguments: the account's name; LINK... -- FILE... -- FILE..., of which the last are told with what is in them.
say() {
    printf '%s\t%s\n' "$1" "$2"
}

say at "$(date +%s)"
if test -d /run/systemd/system; then say systemd running; fi # sd_booted(3)
if entry=$(getent passwd "$1"); then say comment "$(printf %s "$entry" | cut -d : -f 5)"; fi
shift
kind=link
for path; do
    case $kind,$path in
    link,--) kind=file ;;
    file,--) kind=content ;;
    link,*) if test -L "$path"; then say "link $path" "$(readlink "$path")"; fi ;;
    *)
        if test -e "$path"; then
            say "file $path" "$(stat --dereference --format='%U %G 0%a' "$path")"
            if test "$kind" = content; then say "content $path" "$(base64 --wrap=0 "$path")"; fi
        fi
        ;;
    esac
done
