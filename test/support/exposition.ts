/** One series of an exposition. */
export interface Sample {
  name: string
  labels: Record<string, string>
  value: number
}
export interface Family {
  name: string
  help: string
  type: string
  samples: Sample[]
}

const suffixes: Record<string, readonly string[]> = {
  histogram: ['_bucket', '_sum', '_count'],
  summary: ['', '_sum', '_count'],
}

/**
 * Reads Prometheus text format 0.0.4 as strictly as it can be read: HELP and TYPE once and first, samples of a family
 * together and under its name, no series twice, histograms cumulative with a +Inf bucket that equals the count. Throws at
 * the first fault.
 */
export function parseExposition(text: string): Map<string, Family> {
  if (text !== '' && !text.endsWith('\n')) throw new Error('The last line has no end.')
  const families = new Map<string, Family>()
  const seen = new Set<string>()
  let current: Family | null = null
  let help: { name: string; text: string } | null = null
  for (const line of text.split('\n').slice(0, -1)) {
    const comment = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$/.exec(line)
    if (comment) {
      const [, what, name, rest] = comment as unknown as [string, string, string, string]
      if (what === 'HELP') {
        if (families.has(name)) throw new Error(`${name} has a second HELP, or samples before it.`)
        if (/\\(?![\\n])/.test(rest)) throw new Error(`HELP of ${name} has a stray backslash.`)
        help = { name, text: rest }
      } else {
        if (help?.name !== name) throw new Error(`${name} has no HELP before its TYPE.`)
        if (!['counter', 'gauge', 'histogram', 'summary'].includes(rest)) throw new Error(`${name} is of type ${rest}.`)
        current = { name, help: help.text, type: rest, samples: [] }
        families.set(name, current)
        help = null
      }
      continue
    }
    const sample = parseSample(line)
    if (!current) throw new Error(`${line} stands before any TYPE.`)
    const { name } = current
    const allowed = (suffixes[current.type] ?? ['']).map((suffix) => name + suffix)
    if (!allowed.includes(sample.name)) throw new Error(`${sample.name} stands in the family ${name}.`)
    if (current.type === 'counter' && !(sample.value >= 0)) throw new Error(`${line} is a counter below zero.`)
    const key = `${sample.name}${JSON.stringify(Object.entries(sample.labels).toSorted(([a], [b]) => (a < b ? -1 : 1)))}`
    if (seen.has(key)) throw new Error(`${key} is there twice.`)
    seen.add(key)
    current.samples.push(sample)
  }
  for (const family of families.values()) checkFamily(family)
  return families
}

function parseSample(line: string): Sample {
  const match = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/.exec(line)
  if (!match) throw new Error(`Not a sample: ${line}`)
  const labels: Record<string, string> = {}
  let rest = match[2] ?? ''
  while (rest !== '') {
    const pair = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)/.exec(rest)
    if (!pair) throw new Error(`Not labels: ${rest}`)
    if (Object.hasOwn(labels, pair[1]!)) throw new Error(`Label ${pair[1]} is there twice in ${line}`)
    labels[pair[1]!] = pair[2]!.replaceAll(/\\(.)/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped))
    rest = rest.slice(pair[0].length)
  }
  const text = match[3]!
  const value = text === '+Inf' ? Infinity : text === '-Inf' ? -Infinity : text === 'NaN' ? NaN : Number(text)
  if (Number.isNaN(value) && text !== 'NaN') throw new Error(`Not a number: ${line}`)
  return { name: match[1]!, labels, value }
}

function checkFamily({ name, type, samples }: Family): void {
  if (type === 'counter' && !name.endsWith('_total')) throw new Error(`Counter ${name} does not end in _total.`)
  if (type !== 'counter' && name.endsWith('_total')) throw new Error(`${name} is no counter.`)
  if (type !== 'histogram') return
  const groups = new Map<string, { bounds: number[]; counts: number[]; count?: number; sum?: number }>()
  for (const sample of samples) {
    const { le, ...labels } = sample.labels
    const key = JSON.stringify(labels)
    const group = groups.get(key) ?? { bounds: [], counts: [] }
    groups.set(key, group)
    if (sample.name.endsWith('_bucket')) {
      group.bounds.push(le === '+Inf' ? Infinity : Number(le))
      group.counts.push(sample.value)
    } else if (sample.name.endsWith('_count')) group.count = sample.value
    else group.sum = sample.value
  }
  for (const [key, { bounds, counts, count, sum }] of groups) {
    const ascends = (values: number[]) => values.every((value, index) => index === 0 || value >= values[index - 1]!)
    if (!ascends(bounds) || !ascends(counts)) throw new Error(`Buckets of ${name}${key} do not ascend.`)
    if (bounds.at(-1) !== Infinity || counts.at(-1) !== count || sum === undefined) {
      throw new Error(`${name}${key} lacks its +Inf bucket, its count or its sum.`)
    }
  }
}
