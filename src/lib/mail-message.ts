import { sha256Hex } from './canonical.ts'

export interface MailMessage {
  from: string
  to: readonly string[]
  subject: string
  text: string
  idempotencyKey: string
}

/** The bare address of `Name <a@b.org>`. */
export const bareAddress = (sender: string): string => /<([^>]+)>$/.exec(sender)?.[1] ?? sender

/**
 * A message as RFC 5322 has it, lines ended by CRLF: plain text in UTF-8 as base64, which no server on the way changes.
 * The same key gives the same Message-ID, by which receivers drop a repeat.
 */
export function writeMessage(mail: MailMessage, date: Date): string {
  const domain = bareAddress(mail.from).split('@')[1]
  return [
    `Date: ${date.toUTCString().replace('GMT', '+0000')}`,
    `From: ${senderHeader(mail.from)}`,
    `To: ${mail.to.join(',\r\n ')}`,
    `Subject: ${encodeWords(mail.subject)}`,
    `Message-ID: <${sha256Hex(mail.idempotencyKey).slice(0, 32)}@${domain}>`,
    'MIME-Version: 1.0',
    'Content-Type: text/plain; charset=utf-8',
    'Content-Transfer-Encoding: base64',
    'Auto-Submitted: auto-generated',
    '',
    ...inLines(base64(mail.text.replace(/\r\n?|\n/g, '\r\n'))),
    '',
  ].join('\r\n')
}

function senderHeader(sender: string): string {
  const named = /^(.*) <([^>]+)>$/.exec(sender)
  return named ? `${encodeWords(named[1]!)} <${named[2]}>` : sender
}

/** RFC 2047: a line with an encoded word has 76 characters at most, its header's name included; words hold whole characters. */
function encodeWords(text: string): string {
  if (/^[\x20-\x7e]*$/.test(text) && text.length <= 900 && !text.includes('=?')) return text
  const words: string[] = []
  let word = ''
  for (const character of text) {
    if (new TextEncoder().encode(word + character).length > 39) {
      words.push(word)
      word = ''
    }
    word += character
  }
  words.push(word)
  return words.map((each) => `=?utf-8?B?${base64(each)}?=`).join('\r\n ')
}

const base64 = (text: string) => {
  let binary = ''
  for (const byte of new TextEncoder().encode(text)) binary += String.fromCharCode(byte)
  return btoa(binary)
}

const inLines = (text: string) => text.match(/.{1,76}/g) ?? []
