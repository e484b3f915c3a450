"""The codes that occur in records, with a label in Chinese and English.

Rule: data.  All of these lists are open: WeChat adds codes without notice, and a code that is not
here has no label.  Sources: the pages of the interfaces, and what staff and clients report where
these are silent (the channels 43, 51, 75, 78 and 176 are on no current page).
"""

from __future__ import annotations

from harvester.model import Code

Codes = tuple[Code, ...]

CHANNELS: Codes = (
    Code(0, "其他合计", "all others"),
    Code(1, "搜索公众号", "search"),
    Code(17, "名片分享", "name card"),
    Code(30, "扫描二维码", "QR code"),
    Code(43, "文章页右上角菜单", "menu of an article"),
    Code(51, "支付后关注", "after a payment"),
    Code(57, "文章内账号名称", "name in an article"),
    Code(75, "公众号文章广告", "ads in articles"),
    Code(78, "朋友圈广告", "ads in Moments"),
    Code(100, "微信广告", "ads"),
    Code(149, "小程序关注", "mini-program"),
    Code(161, "他人转载", "reprint"),
    Code(176, "专辑内账号名称", "name in an album"),
    Code(200, "视频号", "Channels"),
    Code(201, "直播", "live broadcast"),
)
"""How a follower came."""

READ_SOURCES: Codes = (
    Code(99999999, "全部", "all"),
    Code(0, "公众号会话", "conversation"),
    Code(1, "好友转发", "friends"),
    Code(2, "朋友圈", "Moments"),
    Code(3, "腾讯微博", "Tencent Weibo"),
    Code(4, "历史消息页", "history page"),
    Code(5, "其他", "other"),
    Code(6, "看一看", "Top Stories"),
    Code(7, "搜一搜", "Search"),
)
"""Where a reader of the retired interfaces came from."""

SHARE_SCENES: Codes = (
    Code(1, "好友转发", "friend"),
    Code(2, "朋友圈", "Moments"),
    Code(3, "腾讯微博", "Tencent Weibo"),
    Code(255, "其他", "other"),
)

SCENES: Codes = (
    Code("全部", "全部", "all"),
    Code("公众号消息", "公众号消息", "message"),
    Code("聊天会话", "聊天会话", "chat"),
    Code("朋友圈", "朋友圈", "Moments"),
    Code("公众号主页", "公众号主页", "account page"),
    Code("推荐", "推荐", "recommended"),
    Code("搜一搜", "搜一搜", "Search"),
    Code("其他", "其他", "other"),
)
"""Where a reader came from, as interfaces since 2025 name it."""

PUBLISH_TYPES: Codes = (
    Code(0, "群发 (有通知)", "with notice"),
    Code(1, "发布 (无通知)", "without notice"),
)

MESSAGE_TYPES: Codes = (
    Code(1, "文字", "text"),
    Code(2, "图片", "picture"),
    Code(3, "语音", "voice"),
    Code(4, "视频", "video"),
    Code(6, "链接或第三方应用", "link or other app"),
)

INTERVALS: Codes = (
    Code(0, "0 条", "none"),
    Code(1, "1–5 条", "1 to 5"),
    Code(2, "6–10 条", "6 to 10"),
    Code(3, "10 条以上", "more than 10"),
)

FIFTHS: Codes = tuple(
    Code(n, f"{20 * n - 20}–{20 * n}%", f"{20 * n - 20} to {20 * n} %") for n in range(1, 6)
)
"""Parts of an article."""

DISTRIBUTIONS: Codes = (
    Code("access_source_session_cnt", "访问来源 (打开次数)", "sessions by source"),
    Code("access_source_visit_uv", "访问来源 (人数)", "visitors by source"),
    Code("access_staytime_info", "访问时长", "time of stay"),
    Code("access_depth_info", "访问深度", "depth"),
)

AD_SLOTS: Codes = (
    Code("SLOT_ID_BIZ_BOTTOM", "公众号底部广告", "account: bottom of an article"),
    Code("SLOT_ID_BIZ_MID_CONTEXT", "公众号文中广告", "account: within an article"),
    Code("SLOT_ID_BIZ_VIDEO_END", "公众号视频后贴广告", "account: after a video"),
    Code("SLOT_ID_BIZ_SPONSOR", "公众号互选广告", "account: sponsor"),
    Code("SLOT_ID_BIZ_CPS", "公众号返佣商品", "account: goods on commission"),
    Code("SLOT_ID_WEAPP_BANNER", "小程序 Banner 广告", "mini-program: banner"),
    Code("SLOT_ID_WEAPP_REWARD_VIDEO", "小程序激励视频广告", "mini-program: rewarded video"),
    Code("SLOT_ID_WEAPP_INTERSTITIAL", "小程序插屏广告", "mini-program: interstitial"),
    Code("SLOT_ID_WEAPP_VIDEO_FEEDS", "小程序视频广告", "mini-program: video"),
    Code("SLOT_ID_WEAPP_VIDEO_BEGIN", "小程序视频贴片广告", "mini-program: before a video"),
    Code("SLOT_ID_WEAPP_BOX", "小程序格子广告", "mini-program: box"),
    Code("SLOT_ID_WEAPP_COVER", "小程序封面广告", "mini-program: cover"),
    Code("SLOT_ID_WEAPP_TEMPLATE", "小程序原生模板广告", "mini-program: template"),
)

HALVES: Codes = (Code(1, "上半月", "first half"), Code(2, "下半月", "second half"))

SETTLEMENTS: Codes = (
    Code(1, "结算中", "being settled"),
    Code(2, "已结算", "settled"),
    Code(3, "已结算", "settled"),
    Code(4, "付款中", "being paid"),
    Code(5, "已付款", "paid"),
)

AD_UNIT_STATES: Codes = (
    Code("AD_UNIT_STATUS_ON", "开启", "on"),
    Code("AD_UNIT_STATUS_OFF", "关闭", "off"),
)
