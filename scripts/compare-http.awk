# Reads lines of "round mode requests-per-second processor-microseconds-per-request". Prints medians and
# ratios, and draws them into `chart`.

{
    rates[$2, $1] = $3
    cpus[$2, $1] = $4
    if ($1 > rounds) rounds = $1
    if ($3 > top) top = $3
}

function median(values, name,    n, i, j, value, sorted) {
    n = rounds
    for (i = 1; i <= n; i++) {
        value = values[name, i]
        for (j = i - 1; j >= 1 && sorted[j] > value; j--) sorted[j + 1] = sorted[j]
        sorted[j + 1] = value
    }
    return (sorted[int((n + 1) / 2)] + sorted[int(n / 2) + 1]) / 2
}

function text(x, y, anchor, words) {
    printf "<text x=\"%.0f\" y=\"%.0f\" text-anchor=\"%s\">%s</text>\n", x, y, anchor, words > chart
}

# The median of what `values` say of one mode by what they say of another in the same round.
function median_ratio(values, mode, base,    i, ratios) {
    for (i = 1; i <= rounds; i++) ratios["", i] = values[mode, i] / values[base, i]
    return median(ratios, "")
}

# A bar up to the median, and a dot for each round.
function draw(place, mode, colour,    x, height, i) {
    x = 60 + (place - 1) * 170
    height = 240 * medians[mode] / top
    printf "<rect x=\"%d\" y=\"%.1f\" width=\"110\" height=\"%.1f\" fill=\"%s\"/>\n",
        x, 310 - height, height, colour > chart
    for (i = 1; i <= rounds; i++)
        printf "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"#222\"/>\n",
            x + 110 * i / (rounds + 1), 310 - 240 * rates[mode, i] / top > chart
    text(x + 55, 330, "middle", mode)
    text(x + 55, 350, "middle", sprintf("%.0f requests/s", medians[mode]))
}

END {
    modes = split("noop buffered sync", names)
    split("#8da0cb #66c2a5 #fc8d62", colours)
    print "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"570\" height=\"400\" " \
        "font-family=\"sans-serif\" font-size=\"14\">" > chart
    print "<rect width=\"570\" height=\"400\" fill=\"white\"/>" > chart
    text(285, 28, "middle", "POST /increment over 400 connections: median, and each round")
    print "<path d=\"M40 310H530\" stroke=\"#222\"/>" > chart
    for (i = 1; i <= modes; i++) {
        medians[names[i]] = median(rates, names[i])
        draw(i, names[i], colours[i])
        printf "median %-8s %9.0f requests/s %9.1f us of the service's processor time each\n",
            names[i], medians[names[i]], median(cpus, names[i])
    }
    share = sprintf("buffered is %.1f %% of noop", 100 * median_ratio(rates, "buffered", "noop"))
    factor = sprintf("%.1f times sync", median_ratio(rates, "buffered", "sync"))
    text(285, 384, "middle", share " and " factor)
    print "</svg>" > chart
    print share
    print "buffered is " factor
    printf "buffered takes %.2f times the processor time of noop, and sync %.1f times that of buffered\n",
        median_ratio(cpus, "buffered", "noop"), median_ratio(cpus, "sync", "buffered")
}
