import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { LanguageError } from '../../../src/lib/language/scope.ts'
import { parseBody, type ParseMode } from '../../../src/lib/parsers/index.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const parse = (text: string, mode: ParseMode, mediaType: string | null = null) =>
  parseBody(bytes(text), mediaType, mode)

describe('auto', () => {
  test.each([
    ['application/json', '{"a":1}', { a: 1 }],
    ['application/problem+json; charset=utf-8', '{"a":1}', { a: 1 }],
    ['application/json', '', null],
    ['text/csv', 'a\n1\n', [{ a: '1' }]],
    ['text/plain', '{"a":1}', '{"a":1}'],
    ['text/plain', '', ''],
    ['text/html', '<p>x</p>', '<p>x</p>'],
    ['image/svg+xml', '<svg/>', '<svg/>'],
    ['text/xml', '<note>x</note>', '<note>x</note>'],
    [null, '[1]', '[1]'],
  ])('%s %s', async (mediaType, text, expected) => {
    expect(await parse(text, 'auto', mediaType)).toEqual(expected)
  })

  test.each(['application/rss+xml', 'text/xml; charset=utf-8', 'application/xml'])(
    'a feed served as %s is a feed',
    async (type) => {
      expect(await parse('<rss version="2.0"><channel><title>T</title></channel></rss>', 'auto', type)).toMatchObject({
        title: 'T',
        items: [],
      })
    },
  )
})

describe('character sets', () => {
  test.each([
    ['the media type', 'text/plain; charset=iso-8859-1', [0xe9], 'é'],
    ['a byte order mark before the media type', 'text/plain; charset=iso-8859-1', [0xef, 0xbb, 0xbf, 0xc3, 0xa9], 'é'],
    ['UTF-16 by its mark', 'text/plain', [0xff, 0xfe, 0xe9, 0x00], 'é'],
    ['UTF-8 without any', null, [0xc3, 0xa9], 'é'],
    ['invalid bytes as replacement characters', null, [0x61, 0xff], 'a\ufffd'],
  ])('%s', async (_, mediaType, raw, expected) => {
    expect(await parseBody(Uint8Array.from(raw), mediaType, 'text')).toBe(expected)
  })

  test('the declaration of an XML document is used when the sender names none', async () => {
    const head = bytes('<?xml version="1.0" encoding="ISO-8859-1"?><rss version="2.0"><channel><title>caf')
    const body = Uint8Array.from([...head, 0xe9, ...bytes('</title></channel></rss>')])
    expect(await parseBody(body, 'application/rss+xml', 'feed')).toMatchObject({ title: 'café' })
  })

  test('an unknown character set is named', async () => {
    await expect(parse('x', 'text', 'text/plain; charset=klingon')).rejects.toThrow("the character set 'klingon'")
  })
})

describe('json', () => {
  test.each([
    ['{', 'The text is not JSON.'],
    ['', 'The text is empty, which is not JSON.'],
    ['['.repeat(10_000) + ']'.repeat(10_000), 'nested deeper than 500'],
  ])('%s is refused', async (text, message) => {
    await expect(parse(text, 'json')).rejects.toThrow(message)
  })

  test('brackets in strings do not count as nesting', async () => {
    expect(await parse(JSON.stringify(['['.repeat(2000) + '\\"']), 'json')).toEqual(['['.repeat(2000) + '\\"'])
  })

  test('whatever JSON can say comes back', async () => {
    await fc.assert(
      fc.asyncProperty(fc.jsonValue(), async (value) => {
        const text = JSON.stringify(value)
        expect(await parse(text, 'json')).toEqual(JSON.parse(text))
      }),
    )
  })
})

describe('csv', () => {
  test.each([
    ['commas', 'id,name\n1,a\n', [{ id: '1', name: 'a' }]],
    ['semicolons', 'id;name\n1;a,b\n', [{ id: '1', name: 'a,b' }]],
    ['tabs', 'id\tname\r\n1\ta\r\n', [{ id: '1', name: 'a' }]],
    ['one column', 'id\n1\n2\n', [{ id: '1' }, { id: '2' }]],
    ['quotes', 'a,b\n"x ""y""\nz",2\n', [{ a: 'x "y"\nz', b: '2' }]],
    ['numbers stay strings', 'a,b\n007,1e5\n', [{ a: '007', b: '1e5' }]],
    ['short rows have nulls', 'a,b\n1\n', [{ a: '1', b: null }]],
    ['blank and repeated names', 'a,a,\n1,2,3\n', [{ a: '1', a_2: '2', column_3: '3' }]],
    ['blank lines', 'a,b\n\n1,2\n ,\n', [{ a: '1', b: '2' }]],
    ['a header alone', 'a,b\n', []],
    ['nothing', '', []],
  ])('%s', async (_, text, expected) => {
    expect(await parse(text, 'csv')).toEqual(expected)
  })

  test.each([
    ['a,b\n1,2,3\n', 'row 2 has 3 cells for 2 columns'],
    ['a,b\n"1,2\n', 'row 2 has a quoted cell'],
    [`${'x'.repeat(10_000)}\n${'1\n'.repeat(5000)}`, 'too large'],
    [`${'a,'.repeat(10_000)}a\n1`, '10001 columns'],
    [`${'a,'.repeat(999)}a\n${'1\n'.repeat(5000)}`, '5000 rows of 1000 columns'],
  ])('%s is refused', async (text, message) => {
    await expect(parse(text, 'csv')).rejects.toThrow(message)
  })

  test('thousands of columns of one name are told apart', async () => {
    const has = vi.spyOn(Set.prototype, 'has')
    const [row] = (await parse(`${'a,'.repeat(4_999)}a\n1\n`, 'csv')) as [object]
    const asked = has.mock.calls.length
    has.mockRestore()
    expect(Object.keys(row).at(-1)).toBe('a_5000')
    expect(asked).toBeLessThan(20_000)
  })

  test('a column named __proto__ is a column', async () => {
    expect(JSON.stringify(await parse('__proto__,constructor\n1,2\n', 'csv'))).toBe(
      '[{"__proto__":"1","constructor":"2"}]',
    )
  })
})

const item = {
  id: 'https://example.org/1',
  title: 'One & only',
  link: 'https://example.org/1',
  published: '2026-03-01T10:00:00.000Z',
  updated: null,
  author: 'Editors',
  summary: 'Short.',
  content_text: 'Long\n\ntext',
  categories: ['news'],
}
const feeds: Record<string, string> = {
  'RSS 2.0': `<?xml version="1.0"?><rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/" xmlns:dc="http://purl.org/dc/elements/1.1/"><channel><title>Notes</title><link>https://example.org/</link><description>About</description><item><title>One &amp; only</title><guid>https://example.org/1</guid><pubDate>Sun, 01 Mar 2026 11:00:00 +0100</pubDate><dc:creator>Editors</dc:creator><description>&lt;p&gt;Short.&lt;/p&gt;</description><content:encoded><![CDATA[<p>Long</p><p>text</p>]]></content:encoded><category>news</category></item></channel></rss>`,
  Atom: `<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom"><title>Notes</title><subtitle>About</subtitle><link rel="self" href="https://example.org/feed"/><link href="https://example.org/"/><entry><id>https://example.org/1</id><title type="html">One &amp;amp; only</title><link rel="alternate" href="https://example.org/1"/><published>2026-03-01T10:00:00Z</published><author><name>Editors</name></author><summary>Short.</summary><content type="html">&lt;p&gt;Long&lt;/p&gt;&lt;p&gt;text&lt;/p&gt;</content><category term="news"/></entry></feed>`,
  'JSON Feed': JSON.stringify({
    version: 'https://jsonfeed.org/version/1.1',
    title: 'Notes',
    home_page_url: 'https://example.org/',
    description: 'About',
    items: [
      {
        id: 'https://example.org/1',
        url: 'https://example.org/1',
        title: 'One & only',
        summary: 'Short.',
        content_html: '<p>Long</p><p>text</p>',
        date_published: '2026-03-01T05:00:00-05:00',
        authors: [{ name: 'Editors' }],
        tags: ['news'],
      },
    ],
  }),
}

describe('feed', () => {
  test.each(Object.entries(feeds))('%s has the one shape', async (_, text) => {
    expect(await parse(text, 'feed')).toEqual({
      title: 'Notes',
      link: 'https://example.org/',
      description: 'About',
      updated: null,
      items: [item],
    })
  })

  test('RSS 1.0 and 0.91 have it too, with null for what they lack', async () => {
    const rdf = `<?xml version="1.0"?><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"><channel rdf:about="c"><title>Notes</title><link>https://example.org/</link><description>About</description></channel><item rdf:about="https://example.org/1"><title>One</title><link>https://example.org/1</link><dc:date>2026-03-01T10:00:00Z</dc:date></item></rdf:RDF>`
    expect(await parse(rdf, 'feed')).toMatchObject({
      items: [{ id: 'https://example.org/1', published: '2026-03-01T10:00:00.000Z', summary: null, categories: [] }],
    })
    const old = `<rss version="0.91"><channel><title>Notes</title><link>https://example.org/</link><item><title>One</title><link>https://example.org/1</link></item></channel></rss>`
    expect(await parse(old, 'feed')).toMatchObject({
      items: [{ id: 'https://example.org/1', title: 'One', published: null }],
    })
  })

  test('plain text of Atom keeps its angle brackets, and a date that cannot be read is null', async () => {
    const atom = `<feed xmlns="http://www.w3.org/2005/Atom"><title>a &lt; b</title><updated>yesterday</updated></feed>`
    expect(await parse(atom, 'feed')).toMatchObject({ title: 'a < b', updated: null })
  })

  test.each([
    ['<html><body>Not found</body></html>'],
    ['not even markup'],
    ['{"version": "1"}'],
    ['<rss version="2.0"><channel>' + '<a>'.repeat(50_000)],
    ['{"a":'.repeat(1000)],
    ['<rss>' + ' '.repeat(3_000_001)],
  ])('what is no feed is refused: %.40s', async (text) => {
    await expect(parse(text, 'feed')).rejects.toThrow(LanguageError)
  })

  test('entities of the document itself are not unfolded', async () => {
    const bomb = `<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "${'a'.repeat(1000)}"><!ENTITY b "${'&a;'.repeat(1000)}">]><rss version="2.0"><channel><title>&b;</title></channel></rss>`
    expect(JSON.stringify(await parse(bomb, 'feed')).length).toBeLessThan(200)
  })

  test('an external entity is never fetched nor read', async () => {
    const xxe = `<?xml version="1.0"?><!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/hostname">]><rss version="2.0"><channel><title>&f;</title></channel></rss>`
    let title: unknown
    try {
      title = ((await parse(xxe, 'feed')) as { title: unknown }).title
    } catch (error) {
      expect(error).toBeInstanceOf(LanguageError)
    }
    expect([undefined, null, '&f;']).toContain(title)
  })
})

describe('large bodies', () => {
  /** How often others got their turn while a body was read. */
  async function turnsDuring(work: () => Promise<unknown>): Promise<number> {
    let turns = 0
    let ended = false
    const beat = () => {
      turns += 1
      if (!ended) setImmediate(beat)
    }
    setImmediate(beat)
    await work()
    ended = true
    return turns
  }
  const itemsOf = (count: number, more = '') =>
    Array.from({ length: count }, (_, i) => `<item><title>T${i}</title><description>${more}D${i}</description></item>`)
  const rss = (items: string[]) =>
    `<rss version="2.0"><channel><title>Whole</title>${items.join('\n')}<link>https://example.org</link></channel></rss>`

  test('a feed is read in slices, which together are what it says', async () => {
    const text = rss(itemsOf(2_000, 'x'.repeat(200)))
    let feed: unknown
    const turns = await turnsDuring(async () => (feed = await parse(text, 'feed')))
    expect(turns).toBeGreaterThan(4)
    expect(feed).toMatchObject({ title: 'Whole', link: 'https://example.org' })
    const { items } = feed as { items: { title: string; summary: string }[] }
    expect(items).toHaveLength(2_000)
    expect(items.map(({ title }) => title)).toEqual(items.map((_, i) => `T${i}`))
  })

  test('tags in plain text and in comments of a large feed begin and end no item', async () => {
    const odd = '<!-- <item> --><item><title><![CDATA[</item><item>]]></title></item><item/>'
    const { items } = (await parse(rss([...itemsOf(600, 'x'.repeat(200)), odd, ...itemsOf(600)]), 'feed')) as {
      items: { title: string | null }[]
    }
    expect(items).toHaveLength(1_201)
    expect(items[599]).toMatchObject({ title: 'T599' })
    expect(items[601]).toMatchObject({ title: 'T0' })
  })

  test('RSS 1.0, which names every item twice, is read whole', async () => {
    const about = (index: number) => `https://example.org/articles/2026/03/${index}`
    const all = Array.from({ length: 3_000 }, (_, index) => index)
    const sequence = all.map((index) => `<rdf:li rdf:resource="${about(index)}"/>`).join('\n')
    const items = all.map((index) => `<item rdf:about="${about(index)}"><title>T${index}</title></item>`).join('\n')
    const rdf = `<?xml version="1.0"?><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/"><channel rdf:about="c"><title>Notes</title><description><![CDATA[of <rdf:Seq>]]></description><items><rdf:Seq>${sequence}</rdf:Seq></items><link>https://example.org/</link></channel>${items}</rdf:RDF>`
    const feed = (await parse(rdf, 'feed')) as { items: { id: string; title: string }[] }
    expect(feed).toMatchObject({ title: 'Notes', link: 'https://example.org/' })
    expect(feed.items.map(({ title }) => title)).toEqual(all.map((index) => `T${index}`))
    expect(feed.items.at(-1)).toMatchObject({ id: about(2_999) })
  })

  test.each([
    [
      'an item of megabytes',
      rss(itemsOf(1, 'x'.repeat(600_000))),
      'An item of the feed has more than 500000 characters',
    ],
    ['more round the items than in them', `<!--${'x'.repeat(200_000)}-->${rss(itemsOf(1))}`, 'outside of its items'],
  ])('%s is refused', async (_, text, message) => {
    await expect(parse(text, 'feed')).rejects.toThrow(message)
  })

  test('a page is read in slices, which may end anywhere', async () => {
    const page = '<p>One &amp; <b>two</b></p>\n'.repeat(20_000)
    let text: unknown
    const turns = await turnsDuring(async () => (text = await parse(page, 'html_text')))
    expect(turns).toBeGreaterThan(4)
    expect(text).toBe(Array(20_000).fill('One & two').join('\n\n'))
  })

  test.each(['\u3000', '\u2003', '\u2009', '\u2028', '\ufeff'])(
    'a space of another kind at the end of a slice stays between its words: %j',
    async (space) => {
      const before = 'x'.repeat(99_996)
      for (const offset of [0, 1]) {
        const words = `${before}${'y'.repeat(offset)}${space}z`
        expect(await parse(`<p>${words}</p>`, 'html_text')).toBe(words)
      }
    },
  )
})

describe('html_text', () => {
  test('reads as the page does', async () => {
    const page = `<!doctype html><html><head><title>T</title><style>p{}</style></head><body><h1>Release   notes</h1><script>alert(1)</script>
      <p>See <a href="https://example.org">the <b>site</b></a>&nbsp;&amp; more.<br>Next line</p>
      <ul><li>one<ol><li>inner</li><li>second</li></ol></li><li>two</li></ul>
      <table><tr><th>Name</th><th>Value</th></tr><tr><td>a</td><td>1</td></tr></table><pre>  keep
   this</pre><img alt="x" src="y"></body></html>`
    expect(await parse(page, 'html_text')).toBe(
      'Release notes\n\nSee the site & more.\nNext line\n\n- one\n  1. inner\n  2. second\n- two\n\nName | Value\na | 1\n\n  keep\n   this',
    )
  })

  test('the same text however it is indented', async () => {
    const compact = await parse('<div><p>a <b>b</b></p><p>c</p></div>', 'html_text')
    expect(await parse('<div>\n  <p>a\n <b>b</b></p>\n\n  <p>c</p>\n</div>', 'html_text')).toBe(compact)
  })

  test.each([
    ['nesting', '<div>'.repeat(100_000), 'nested deeper than 1000'],
    ['size', 'x'.repeat(5_000_001), '5000000 can be turned into text'],
  ])('%s is bounded', async (_, page, message) => {
    await expect(parse(page, 'html_text')).rejects.toThrow(message)
  })

  test('any text is converted or refused with a LanguageError', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.constantFrom(
            '<p>',
            '</p>',
            '<',
            '>',
            '<!--',
            '-->',
            '<script>',
            '</td>',
            '&amp',
            '&#0;',
            '<li>',
            'x',
            ' ',
            '<br',
            '<![CDATA[',
          ),
          { maxLength: 20 },
        ),
        async (parts) => {
          expect(typeof (await parse(parts.join(''), 'html_text'))).toBe('string')
        },
      ),
    )
  })
})

test('a body of more than ten megabytes is refused before it is decoded', async () => {
  await expect(parseBody(new Uint8Array(10_000_001), 'text/plain', 'text')).rejects.toThrow('10000000 can be parsed')
})
