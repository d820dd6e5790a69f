# Reads what `perf script -F ip,sym,dso` says of samples and tells in which part of the service they were
# taken. Prints a table, and writes JSON to `json`. Needs `service`, its program; `bias`, the address at
# which that is loaded, in hexadecimal digits; `root`, the folder of this crate; `scratch`, a file.
#
# A function that was inlined counts as itself: addr2line names all functions at an address, the innermost
# first, and the first whose crate is known decides. The standard library and crates that anybody may use, such
# as hashbrown, count for who has called them; where nobody inlined them, for whom their types name.

function value(hexadecimal,    i, sum) {
    for (i = 1; i <= length(hexadecimal); i++)
        sum = sum * 16 + index("0123456789abcdef", substr(hexadecimal, i, 1)) - 1
    return sum
}

# `%x` of some awks ends at 32 bits.
function hexadecimal(number,    digits, digit) {
    do {
        digit = number % 16
        digits = substr("0123456789abcdef", digit + 1, 1) digits
        number = (number - digit) / 16
    } while (number > 0)
    return digits
}

function part_of_crate(crate) {
    gsub("_", "-", crate)
    if (crate ~ /^(hyper|hyper-util|axum|axum-core|http|http-body|http-body-util|httparse|httpdate|tower|tower-.*|matchit|mime|percent-encoding)$/)
        return "HTTP: hyper, axum, http, tower, matchit"
    if (crate ~ /^(tokio|tokio-util|mio|socket2)$/) return "the runtime: tokio, mio"
    if (crate ~ /^(serde|serde-core|serde-json|serde-path-to-error|itoa|ryu|zmij)$/) return "parsing of requests: serde_json"
    if (crate ~ /^(tokio-postgres|postgres-protocol|postgres-types|deadpool.*)$/)
        return "Postgres client: tokio_postgres, postgres_protocol, deadpool"
    if (crate == "write-behind") return "the buffer: write_behind"
    return ""
}

# Of a source file; nothing for the standard library and for crates that anybody may use.
function part_of_file(file,    steps, count, i) {
    if (index(file, root "/src/") == 1) return part_of_crate("write-behind")
    if (index(file, root "/examples/") == 1) {
        if (file ~ /\/(http|main|args|increment)\.rs/) return "the service: its handlers"
        return "the service: its sink"
    }
    count = split(file, steps, "/")
    for (i = 1; i < count - 1; i++)
        if (steps[i] == "registry" && steps[i + 1] == "src") {
            sub(/-[0-9]+\.[0-9].*$/, "", steps[i + 3])
            return part_of_crate(steps[i + 3])
        }
    return ""
}

# The first crate in a function's name that is known.
function part_of_name(name,    words, count, i, part) {
    count = split(name, words, /[^a-z0-9_]+/)
    for (i = 1; i <= count; i++) {
        if (words[i] == "counters") return "the service: its sink"
        # Not words that are also names of modules.
        if (words[i] !~ /^(http|mime|tower)$/ && (part = part_of_crate(words[i])) != "") return part
    }
    return ""
}

# Adds the samples at an address to the part that `files` and `name` speak for.
function attribute() {
    if (address == "") return
    if (part == "") part = part_of_name(names)
    if (part == "") {
        part = "rest"
        rest[names == "" ? "unknown" : names] += counts[address]
    }
    parts[part] += counts[address]
}

{
    samples++
    # The library is in the last pair of parentheses.
    library = $0
    sub(/^.*\(/, "", library)
    sub(/\)[^)]*$/, "", library)
    if (library ~ /kernel|^\[guest/ || $1 ~ /^ffff/) parts["the kernel: network, scheduling"]++
    else if (library == service) counts[hexadecimal(value($1) - value(bias))]++
    else if (library ~ /libc|vdso|libm|libgcc|ld-linux/) parts["allocator and libc"]++
    else { parts["rest"]++; rest[library]++ }
}

END {
    if (samples == 0) { print "there are no samples" > "/dev/stderr"; exit 1 }
    printf "" > scratch
    for (one in counts) print "0x" one > scratch
    close(scratch)
    command = "addr2line -a -i -f -C -e '" service "' < '" scratch "'"
    while ((command | getline line) > 0) {
        if (line ~ /^0x[0-9a-f]+$/) {
            attribute()
            address = line
            sub(/^0x0*/, "", address)
            part = names = ""
            continue
        }
        # A function's name, and then where it is.
        names = names == "" ? line : names " < " line
        if ((command | getline file) <= 0) break
        if (part == "") part = part_of_file(file)
    }
    attribute()
    close(command)
    order = "sort -t '\t' -k 2,2 -rn >'" scratch "'"
    for (one in parts) printf "%s\t%.2f\n", one, 100 * parts[one] / samples | order
    close(order)
    printf "{\"unix_time\": %d, \"samples\": %d, \"shares\": [", time, samples > json
    separator = ""
    while ((getline line < scratch) > 0) {
        split(line, columns, "\t")
        printf "%7.2f %%  %s\n", columns[2], columns[1]
        printf "%s\n    {\"part\": \"%s\", \"percent\": %s}", separator, columns[1], columns[2] > json
        separator = ","
    }
    print "\n]}" > json
    if (verbose) for (one in rest) printf "rest: %d %s\n", rest[one], one > "/dev/stderr"
}
