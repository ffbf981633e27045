/** Parts up to there are left to the platform, which at worst compares all of one at every place. */
const longestPlain = 8

/**
 * Where a part of a text begins, one after the other and none within another. The platform's search is fast for most texts
 * and takes the product of both lengths for some (`aaaa…b` within `aaaa…`): seconds for each of many calls. This one (Knuth,
 * Morris and Pratt) reads each character a few times at most.
 */
export function placesOf(text: string, part: string, most = Infinity): number[] {
  const places: number[] = []
  if (part.length <= longestPlain) {
    for (let at = text.indexOf(part); at >= 0 && places.length < most; at = text.indexOf(part, at + part.length))
      places.push(at)
    return places
  }
  const back = fallbacksOf(part)
  let matched = 0
  for (let at = 0; at < text.length && places.length < most; at += 1) {
    const code = text.charCodeAt(at)
    while (matched > 0 && part.charCodeAt(matched) !== code) matched = back[matched - 1]!
    if (part.charCodeAt(matched) === code) matched += 1
    if (matched < part.length) continue
    places.push(at + 1 - part.length)
    matched = 0
  }
  return places
}

export const placeOf = (text: string, part: string): number => placesOf(text, part, 1)[0] ?? -1

/** As `String.split` with a separator that is not empty. */
export function splitBy(text: string, separator: string): string[] {
  let start = 0
  const parts = placesOf(text, separator).map((at) => {
    const part = text.slice(start, at)
    start = at + separator.length
    return part
  })
  return [...parts, text.slice(start)]
}

/** Of each beginning of the part: how many characters of its end are a beginning too. */
function fallbacksOf(part: string): Uint32Array {
  const back = new Uint32Array(part.length)
  for (let at = 1, matched = 0; at < part.length; at += 1) {
    while (matched > 0 && part.charCodeAt(matched) !== part.charCodeAt(at)) matched = back[matched - 1]!
    if (part.charCodeAt(matched) === part.charCodeAt(at)) matched += 1
    back[at] = matched
  }
  return back
}
