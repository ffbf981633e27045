import { isUuid } from '../ids.ts'
import { patternOf } from './patterns.ts'

const date = /^(\d{4})-(\d{2})-(\d{2})$/
const time = /^([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$/i

function isDate(text: string): boolean {
  const parts = date.exec(text)
  if (!parts) return false
  const [year, month, day] = [Number(parts[1]), Number(parts[2]), Number(parts[3])]
  const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0)
  const days = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1]
  return days !== undefined && day >= 1 && day <= days
}

const isUri = (text: string): boolean => /^[a-z][a-z0-9+.-]*:[^\s<>"{}|\\^`]+$/i.test(text) && URL.canParse(text)

function isPattern(text: string): boolean {
  try {
    patternOf(text)
    return true
  } catch {
    return false
  }
}

interface Format {
  is: (text: string) => boolean
  named: string
  /** What asking takes beside the length of the text, in units of a validation. */
  cost: number
}

/** Formats that are asserted; others are annotations, as the standard has it. None of these expressions can backtrack far. */
export const formats: Readonly<Record<string, Format>> = {
  date: { is: isDate, named: 'a date such as 2026-01-31', cost: 1 },
  time: { is: (text) => time.test(text), named: 'a time such as 08:30:00Z', cost: 1 },
  'date-time': {
    is: (text) => /^.{10}[T ]/i.test(text) && isDate(text.slice(0, 10)) && time.test(text.slice(11)),
    named: 'a time such as 2026-01-31T08:30:00Z',
    cost: 1,
  },
  email: {
    is: (text) => text.length <= 254 && /^[^\s@<>()[\],;:"\\]{1,64}@[a-z0-9-]+(\.[a-z0-9-]+)*$/i.test(text),
    named: 'an e-mail address',
    cost: 1,
  },
  uri: { is: isUri, named: 'a URI', cost: 5 },
  uuid: { is: isUuid, named: 'a UUID', cost: 1 },
  hostname: {
    is: (text) =>
      text.length <= 253 && /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/i.test(text),
    named: 'a host name',
    cost: 1,
  },
  ipv4: {
    is: (text) => /^((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(?!$)|$)){4}$/.test(text),
    named: 'an IPv4 address',
    cost: 1,
  },
  ipv6: {
    is: (text) => /^[0-9a-f:.]{2,45}$/i.test(text) && URL.canParse(`http://[${text}]/`),
    named: 'an IPv6 address',
    cost: 5,
  },
  regex: { is: isPattern, named: 'a regular expression', cost: 300 },
}
