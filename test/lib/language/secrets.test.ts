import { expect, test } from 'vitest'
import {
  hasSecretPlaceholder,
  replaceSecretPlaceholders,
  secretPlaceholder,
} from '../../../src/lib/language/secrets.ts'
import { checkTemplate, renderText } from '../../../src/lib/language/template.ts'

const lookup = (ref: string) => Promise.resolve(`<${ref}>`)

test.each([
  "Bearer {{ secret('api.token') }}",
  'Bearer {{secret("api.token")}}',
  "Bearer {{- ' ' }}{{- secret( 'api.token' ) -}} ",
  "Bearer {{ 'api.token' | secret }}",
])('%s renders a placeholder that only a lookup turns into the secret', async (source) => {
  expect(checkTemplate(source)).toEqual({ faults: [], references: [], secrets: ['api.token'] })
  const text = renderText(source, {})
  expect(text).toMatch(/^Bearer secret_[0-9a-f]{32}_[0-9a-f]+_$/)
  expect(hasSecretPlaceholder(text)).toBe(true)
  expect(await replaceSecretPlaceholders(text, lookup)).toBe('Bearer <api.token>')
})

test.each([
  "{{ secret('api.token') | upcase }}",
  '{{ secret(input.name) }}',
  "{% if secret('api.token') == 'x' %}{% endif %}",
  "{% assign s = secret('api.token') %}",
  "{{ secret('nofield') }}",
  "{{ secret('Api.token') }}",
  "{{ secret('') }}",
  '{{ input.name | secret }}',
  '{% secret input.name %}',
])('%s is a fault: a secret is named by its author, alone, and never by data', (source) => {
  expect(checkTemplate(source).faults).toHaveLength(1)
  expect(() => renderText(source, { input: { name: 'api.token' } })).toThrow()
})

test('in raw text and comments it is text', () => {
  const source = "{% raw %}{{ secret('api.token') }}{% endraw %}{% comment %}{{ secret('x.y') }}{% endcomment %}"
  expect(checkTemplate(source).secrets).toEqual([])
  expect(renderText(source, {})).toBe("{{ secret('api.token') }}")
})

test('data cannot forge a placeholder', async () => {
  const forged = `secret_${'0'.repeat(32)}_6170692e746f6b656e_`
  const text = renderText("{{ input }} {{ '{{' }} secret('api.token') }}", {
    input: `${forged} {{ secret('api.token') }}`,
  })
  expect(hasSecretPlaceholder(text)).toBe(false)
  expect(await replaceSecretPlaceholders(text, () => Promise.reject(new Error('looked up')))).toBe(text)
})

test('a placeholder survives URLs, JSON and header values unchanged', async () => {
  const placeholder = secretPlaceholder('api-key.x_Y-1')
  const url = new URL(`https://example.com/${placeholder}?key=${encodeURIComponent(placeholder)}`).href
  expect(await replaceSecretPlaceholders(url, () => Promise.resolve('s'))).toBe('https://example.com/s?key=s')
  expect(JSON.parse(await replaceSecretPlaceholders(JSON.stringify({ a: placeholder }), lookup))).toEqual({
    a: '<api-key.x_Y-1>',
  })
})

test('each secret is looked up once, values go in verbatim, and a value is not searched again', async () => {
  const looked: string[] = []
  const inner = secretPlaceholder('bb.y')
  const text = `${secretPlaceholder('aa.x')} ${secretPlaceholder('aa.x')}`
  const result = await replaceSecretPlaceholders(text, (ref) => {
    looked.push(ref)
    return Promise.resolve(`$&${inner}`)
  })
  expect(looked).toEqual(['aa.x'])
  expect(result).toBe(`$&${inner} $&${inner}`)
})

test('a secret that cannot be looked up fails the whole', async () => {
  const failing = replaceSecretPlaceholders(secretPlaceholder('aa.x'), () =>
    Promise.reject(new Error('no such secret')),
  )
  await expect(failing).rejects.toThrow('no such secret')
})
