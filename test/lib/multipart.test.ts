import { describe, expect, test } from 'vitest'
import { readForm, writeForm, type FormPart } from '../../src/lib/multipart.ts'

const encoder = new TextEncoder()
const type = (boundary: string) => `multipart/form-data; boundary=${boundary}`
const read = (lines: string[], contentType = type('x')) => readForm(encoder.encode(lines.join('\r\n')), contentType)
const bytes = new Uint8Array([0, 13, 10, 45, 45, 120, 255])
const parts: FormPart[] = [
  { name: 'a "b"\r\nc', content: 'naïve\r\n--x' },
  { name: 'empty', content: '' },
  { name: 'doc', content: { bytes, fileName: 'a"b\\😀.bin', mediaType: 'image/png' } },
  { name: 'none', content: { bytes: new Uint8Array(), fileName: 'e', mediaType: 'text/plain' } },
]

test('what was written is read again, byte by byte, here and by the runtime', async () => {
  const { bytes: body, mediaType } = writeForm(parts, 'seed')
  expect(readForm(body, mediaType)).toEqual(parts)
  const form = await new Response(body, { headers: { 'content-type': mediaType } }).formData()
  expect(form.get('empty')).toBe('')
  expect(new Uint8Array(await (form.get('doc') as File).arrayBuffer())).toEqual(bytes)
})

test('what the runtime writes is read', async () => {
  const form = new FormData()
  form.append('x "y"', 'text')
  form.append('file', new File([bytes], 'a"b.png', { type: 'image/png' }))
  const request = new Response(form)
  const contentType = request.headers.get('content-type')!
  expect(readForm(new Uint8Array(await request.arrayBuffer()), contentType)).toEqual([
    { name: 'x "y"', content: 'text' },
    { name: 'file', content: { bytes, fileName: 'a"b.png', mediaType: 'image/png' } },
  ])
})

describe('as senders write it', () => {
  test('short and quoted boundaries, a preamble, an epilogue, spaces behind delimiters', () => {
    const lines = ['preamble', '--x  ', 'content-disposition: form-data; name=a', '', '1', '--x--', 'epilogue --x']
    expect(read(lines)).toEqual([{ name: 'a', content: '1' }])
    expect(read(['--a b', 'Content-Disposition: form-data; name="a"', '', '1', '--a b--'], type('"a b"'))).toEqual([
      { name: 'a', content: '1' },
    ])
  })

  test('a name in its exact form wins; a file may say no media type', () => {
    const disposition = `Content-Disposition: form-data; name="f"; filename="x"; filename*=UTF-8''na%C3%AFve.txt`
    expect(read(['--x', disposition, '', 'text', '--x--'])).toEqual([
      {
        name: 'f',
        content: { bytes: encoder.encode('text'), fileName: 'naïve.txt', mediaType: 'application/octet-stream' },
      },
    ])
  })

  test('a form without parts', () => {
    expect(read(['--x--'])).toEqual([])
  })
})

test.each([
  ['nothing', []],
  ['no delimiter', ['text']],
  ['no end', ['--x', 'Content-Disposition: form-data; name="a"', '', '1']],
  ['no empty line', ['--x', 'Content-Disposition: form-data; name="a"', '--x--']],
  ['no name', ['--x', 'Content-Disposition: form-data', '', '1', '--x--']],
  ['no header', ['--x', '', '1', '--x--']],
  ['an attachment', ['--x', 'Content-Disposition: attachment; name="a"', '', '1', '--x--']],
  ['a delimiter that goes on', ['--xyz', 'Content-Disposition: form-data; name="a"', '', '1', '--xyz--']],
  ['a head without end', ['--x', `A: ${'a'.repeat(20_000)}`, '', '1', '--x--']],
  [
    'too many parts',
    Array.from({ length: 1001 }, () => '--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1').concat('--x--'),
  ],
])('%s is no form', (_, lines) => {
  expect(read(lines)).toBeNull()
})

test.each(['multipart/form-data', 'multipart/form-data; boundary=', type('ä')])(
  '%s names no boundary',
  (contentType) => {
    expect(read(['--x--'], contentType)).toBeNull()
  },
)
